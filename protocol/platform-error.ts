import type { ErrorCode } from './error-code.js';

/** One thing wrong with an input: where (JSON pointer, RFC 6901), which code, and what to do about it. */
export interface Issue {
  readonly pointer: string;
  readonly code: ErrorCode;
  readonly detail: string;
}

/** An operating error: expected in production, carries a stable code. Programmer errors are plain assertion failures instead. */
export class PlatformError extends Error {
  readonly code: ErrorCode;
  readonly issues: readonly Issue[];
  /** Further members of the problem document, such as `currentRevision`. Never secrets, never another tenant's data. */
  readonly extensions: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    detail: string,
    options: { issues?: readonly Issue[]; extensions?: Readonly<Record<string, unknown>>; cause?: unknown } = {},
  ) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'PlatformError';
    this.code = code;
    this.issues = options.issues ?? [];
    this.extensions = options.extensions ?? {};
  }
}
