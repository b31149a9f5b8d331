import { ERROR_CODES, type ErrorCode } from './error-code.js';
import { type Issue, PlatformError } from './platform-error.js';

/** How many issues one problem document lists at most. */
export const PROBLEM_ISSUE_COUNT_MAX = 20;

/** RFC 9457 problem details with our extensions; msgpack callers get the same members as msgpack. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** The request id. */
  readonly instance: string;
  readonly code: ErrorCode;
  readonly errors?: readonly Issue[];
  readonly [extension: string]: unknown;
}

/** Maps any thrown value to the document sent to the caller. What is not a PlatformError becomes `internal` without any detail of it. */
export function problemFrom(error: unknown, requestId: string): Problem {
  const known = error instanceof PlatformError ? error : undefined;
  const code: ErrorCode = known?.code ?? 'internal';
  const entry = ERROR_CODES[code];
  return {
    ...known?.extensions,
    type: `/problems/${code}`,
    title: entry.title,
    status: entry.status,
    detail: known?.message ?? 'The request failed. The log has the request id.',
    instance: requestId,
    code,
    ...(known !== undefined && known.issues.length > 0
      ? { errors: known.issues.slice(0, PROBLEM_ISSUE_COUNT_MAX), errorCount: known.issues.length }
      : {}),
  };
}
