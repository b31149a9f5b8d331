import type { KernelAnswer } from '@guidon/engine';
import { PlatformError, type Problem } from '@guidon/protocol';
import type { OfrepErrorCode } from './ofrep-result.js';
import { ERROR_DETAILS } from './ofrep-result.js';

/** What the kernel refuses, with the status of OFREP's table: it knows no 422. */
type KernelRefused = Exclude<KernelAnswer, { readonly status: 'ok' | 'revision-behind' }>;

/**
 * A problem document that is also a failure as OFREP words it: clients take a 400, 404 or 500 for one only when it has `errorCode`, and for one of a
 * flag only when it has `key` too.
 */
export function ofrepProblem(problem: Problem, key: string | undefined): Problem {
  return {
    ...problem,
    status: problem.status === 422 ? 400 : problem.status,
    ...(key === undefined ? {} : { key }),
    errorCode: problem.errorCode ?? errorCodeOf(problem),
    errorDetails: problem.detail,
  };
}

function errorCodeOf({ code, status }: Problem): OfrepErrorCode {
  if (code === 'not-found') return 'FLAG_NOT_FOUND';
  const isOfBody = code === 'malformed-body' || code === 'validation-failed' || code === 'malformed-request';
  return isOfBody || status === 415 ? 'PARSE_ERROR' : 'GENERAL';
}

/** `errorCode` is INVALID_CONTEXT when the refusal is about the context. */
export function refusalOf({ status, detail, pointer }: KernelRefused): PlatformError {
  const isContext = pointer?.startsWith('/context') === true;
  return new PlatformError(status, detail, {
    ...(isContext ? { extensions: { errorCode: 'INVALID_CONTEXT' } } : {}),
    ...(pointer === undefined ? {} : { issues: [{ pointer, code: status, detail }] }),
  });
}

/** Made once: a client that asks for a flag that is gone does so all day, and a stack trace for each would cost more than the answer. */
const FAILURES: Readonly<Record<OfrepErrorCode, PlatformError>> = {
  FLAG_NOT_FOUND: failureOf('FLAG_NOT_FOUND'),
  PARSE_ERROR: failureOf('PARSE_ERROR'),
  TARGETING_KEY_MISSING: failureOf('TARGETING_KEY_MISSING'),
  INVALID_CONTEXT: failureOf('INVALID_CONTEXT'),
  GENERAL: failureOf('GENERAL'),
};

/** The evaluation of the one flag asked, or of all, has failed. */
export const evaluationFailure = (errorCode: OfrepErrorCode): PlatformError => FAILURES[errorCode];

function failureOf(errorCode: OfrepErrorCode): PlatformError {
  const code = errorCode === 'FLAG_NOT_FOUND' ? 'not-found' : 'validation-failed';
  return new PlatformError(code, ERROR_DETAILS[errorCode], { extensions: { errorCode } });
}
