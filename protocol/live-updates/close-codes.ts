/** Subprotocols of `GET /v1/stream`: who offers both is given msgpack. */
export const STREAM_PROTOCOLS = { msgpack: 'guidon.v1.msgpack', json: 'guidon.v1.json' } as const;
/** What a browser offers beside the subprotocol: this and a stream token. It is never chosen, so never sent back. */
export const STREAM_TOKEN_PROTOCOL_PREFIX = 'guidon.token.';

/**
 * Why a node ends a stream: WebSocket close code, and `reason` of the `bye` before it. A client reconnects after `reconnectAfterMs`, except after
 * `credential`, `malformed` and `too-big`, which would end the next stream too.
 */
export const STREAM_CLOSE = {
  tooBig: { code: 1009, reason: 'too-big' },
  draining: { code: 1012, reason: 'draining' },
  slow: { code: 1013, reason: 'slow' },
  busy: { code: 1013, reason: 'busy' },
  malformed: { code: 4400, reason: 'malformed' },
  credential: { code: 4401, reason: 'credential' },
  noHello: { code: 4408, reason: 'no-hello' },
  ahead: { code: 4409, reason: 'revision-ahead' },
  gone: { code: 4410, reason: 'gone' },
  rate: { code: 4429, reason: 'rate' },
} as const;

export type StreamClose = (typeof STREAM_CLOSE)[keyof typeof STREAM_CLOSE];

/** Limits of one stream. */
export const STREAM_LIMITS = {
  helloMs: 5_000,
  /** Of one client message. */
  messageBytes: 64 * 1024,
  /** Of the context of a `web` stream, as msgpack. */
  contextBytes: 4 * 1024,
  /** Client messages: so many a second, and so many at once. */
  messagesPerSecond: 20,
  messageBurst: 100,
  tokenMs: 3_600_000,
} as const;
