import type { BodyFormat, ErrorResult } from '@guidon/engine';
import { PlatformError, REQUEST_LIMITS } from '@guidon/protocol';
import { decodeBody, withinStack } from './request-body.js';

export type TrappedAnswer =
  | ({ readonly revision: number } & ErrorResult)
  | { readonly revision: number; readonly results: readonly ErrorResult[] };

/**
 * What a request is answered that made the kernel trap (I20): 200, `ERROR` with `GENERAL` in the place of each flag asked, so that callers take
 * their defaults. Undefined when the flags are not named by the body (all visible ones are asked) or the body is not a request.
 */
export function trappedAnswer(
  request: Uint8Array,
  format: BodyFormat,
  route: 'evaluate' | 'batch',
  revision: number,
): TrappedAnswer | undefined {
  const body = findBody(request, format);
  if (!isRecord(body)) return undefined;
  if (route === 'evaluate') {
    const flag = body.flags ?? body.flag_key ?? body.flagKey;
    if (typeof flag === 'string') return { revision, ...failed(flag) };
    return resultsOf(flag, revision);
  }
  if (Array.isArray(body.requests)) {
    return resultsOf(
      body.requests.map((entry: unknown) => (isRecord(entry) ? entry.flag : undefined)),
      revision,
    );
  }
  const { contexts, flags } = body;
  if (!Array.isArray(contexts) || !Array.isArray(flags)) return undefined;
  if (contexts.length * flags.length > REQUEST_LIMITS.evaluationsPerRequest) return undefined;
  return resultsOf(
    contexts.flatMap((): unknown[] => flags),
    revision,
  );
}

function findBody(request: Uint8Array, format: BodyFormat): unknown {
  try {
    return withinStack(() => decodeBody(request, format));
  } catch (error) {
    if (error instanceof PlatformError) return undefined;
    throw error;
  }
}

function resultsOf(flags: unknown, revision: number): TrappedAnswer | undefined {
  if (!Array.isArray(flags) || flags.length > REQUEST_LIMITS.evaluationsPerRequest) return undefined;
  const keys: readonly unknown[] = flags;
  const results = keys.flatMap((flag) => (typeof flag === 'string' ? [failed(flag)] : []));
  return results.length === keys.length ? { revision, results } : undefined;
}

const failed = (flag: string): ErrorResult => ({ flag, reason: 'ERROR', errorCode: 'GENERAL' });

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
