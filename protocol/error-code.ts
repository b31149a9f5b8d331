/**
 * The one table: code -> HTTP status -> may the caller send the same request again -> log level.
 * Codes are part of the API: never rename one, add a new one instead.
 */
export const ERROR_CODES = {
  'malformed-request': { status: 400, title: 'The HTTP request is malformed', retryable: false, logLevel: 'debug' },
  'malformed-body': { status: 400, title: 'The body cannot be decoded', retryable: false, logLevel: 'debug' },
  'credential-in-url': {
    status: 400,
    title: 'Credentials are not accepted in the URL',
    retryable: false,
    logLevel: 'warn',
  },
  'unknown-parameter': { status: 400, title: 'Unknown query parameter', retryable: false, logLevel: 'debug' },
  'invalid-credentials': {
    status: 401,
    title: 'The credential is missing or not valid',
    retryable: false,
    logLevel: 'info',
  },
  'oidc-failed': {
    status: 401,
    title: 'The identity provider’s answer does not log anybody in',
    retryable: false,
    logLevel: 'info',
  },
  csrf: { status: 403, title: 'The request may come from another site', retryable: false, logLevel: 'warn' },
  forbidden: { status: 403, title: 'The credential does not permit this', retryable: false, logLevel: 'info' },
  'privilege-escalation': {
    status: 403,
    title: 'Nobody can give away more than he may do himself',
    retryable: false,
    logLevel: 'warn',
  },
  'wrong-key-kind': {
    status: 403,
    title: 'This kind of credential cannot call this endpoint',
    retryable: false,
    logLevel: 'info',
  },
  'not-found': { status: 404, title: 'Not found', retryable: false, logLevel: 'debug' },
  'method-not-allowed': { status: 405, title: 'Method not allowed', retryable: false, logLevel: 'debug' },
  conflict: {
    status: 409,
    title: 'It exists already or is in a state that does not allow this',
    retryable: false,
    logLevel: 'debug',
  },
  'last-owner': { status: 409, title: 'Nobody could ever manage the tenant again', retryable: false, logLevel: 'info' },
  'in-use': { status: 409, title: 'Still in use', retryable: false, logLevel: 'debug' },
  'idempotency-in-progress': {
    status: 409,
    title: 'A request with this Idempotency-Key is still running',
    retryable: true,
    logLevel: 'debug',
  },
  'revision-behind': {
    status: 409,
    title: 'This node has not reached the asked revision',
    retryable: true,
    logLevel: 'info',
  },
  'revision-ahead': {
    status: 409,
    title: 'The asked revision is newer than this node knows',
    retryable: true,
    logLevel: 'info',
  },
  'evaluator-too-old': {
    status: 409,
    title: 'Evaluators in use cannot serve this change',
    retryable: false,
    logLevel: 'info',
  },
  'revision-gone': { status: 410, title: 'The asked revision is no longer kept', retryable: false, logLevel: 'info' },
  'feed-gone': {
    status: 410,
    title: 'The feed does not reach back to there; read the state first',
    retryable: false,
    logLevel: 'info',
  },
  'length-required': { status: 411, title: 'Content-Length is required', retryable: false, logLevel: 'debug' },
  'revision-conflict': { status: 412, title: 'It has changed since it was read', retryable: false, logLevel: 'debug' },
  'payload-too-large': { status: 413, title: 'The body is too large', retryable: false, logLevel: 'debug' },
  'uri-too-long': { status: 414, title: 'The URL is too long', retryable: false, logLevel: 'debug' },
  'unsupported-media-type': {
    status: 415,
    title: 'The media type or content encoding is not supported',
    retryable: false,
    logLevel: 'debug',
  },
  'validation-failed': { status: 422, title: 'The request is not valid', retryable: false, logLevel: 'debug' },
  'limit-exceeded': { status: 422, title: 'A limit is exceeded', retryable: false, logLevel: 'info' },
  'reference-cycle': {
    status: 422,
    title: 'References form a cycle or are too deep',
    retryable: false,
    logLevel: 'debug',
  },
  'dangling-reference': {
    status: 422,
    title: 'A reference names something that does not exist',
    retryable: false,
    logLevel: 'debug',
  },
  'bad-weights': { status: 422, title: 'Rollout weights do not sum to 100000', retryable: false, logLevel: 'debug' },
  'unsafe-regex': { status: 422, title: 'The pattern is not accepted', retryable: false, logLevel: 'debug' },
  'bad-webhook-url': { status: 422, title: 'The URL cannot be called', retryable: false, logLevel: 'info' },
  'refused-by-policy': {
    status: 422,
    title: 'A policy hook of the tenant refuses the change',
    retryable: false,
    logLevel: 'info',
  },
  'idempotency-mismatch': {
    status: 422,
    title: 'This Idempotency-Key was used with another request',
    retryable: false,
    logLevel: 'debug',
  },
  'upgrade-required': {
    status: 426,
    title: 'The endpoint speaks another protocol',
    retryable: false,
    logLevel: 'debug',
  },
  'precondition-required': { status: 428, title: 'If-Match is required', retryable: false, logLevel: 'debug' },
  'rate-limited': { status: 429, title: 'Too many requests', retryable: true, logLevel: 'info' },
  'headers-too-large': { status: 431, title: 'The request headers are too large', retryable: false, logLevel: 'debug' },
  internal: { status: 500, title: 'Internal error', retryable: true, logLevel: 'error' },
  'not-ready': { status: 503, title: 'No configuration has been loaded yet', retryable: true, logLevel: 'warn' },
  overloaded: { status: 503, title: 'Overloaded', retryable: true, logLevel: 'warn' },
  'policy-unavailable': {
    status: 503,
    title: 'A policy hook of the tenant does not answer',
    retryable: true,
    logLevel: 'warn',
  },
  timeout: { status: 503, title: 'The response deadline passed', retryable: true, logLevel: 'warn' },
  'storage-unavailable': { status: 503, title: 'The store cannot be written', retryable: true, logLevel: 'error' },
  'outcome-unknown': {
    status: 503,
    title: 'The write may or may not have happened',
    retryable: true,
    logLevel: 'error',
  },
} as const satisfies Record<string, ErrorCodeEntry>;

export interface ErrorCodeEntry {
  readonly status: number;
  readonly title: string;
  /** Sending the same request again (same Idempotency-Key) may succeed. */
  readonly retryable: boolean;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
}

export type ErrorCode = keyof typeof ERROR_CODES;
