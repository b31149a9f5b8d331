import { encodeMsgpack } from '@guidon/engine';
import { PlatformError } from '@guidon/protocol';
import { mintStreamToken, STREAM_LIMITS, type StreamUse } from '@guidon/protocol/live-updates';
import type { Caller } from '../auth/access-directory.js';
import { type AuthorizeParts, authorizeCaller } from '../auth/authorize-caller.js';
import { answerPreflight } from '../cors.js';
import { MEDIA_TYPES } from '../media-type.js';
import type { Reply } from '../reply.js';
import type { RequestHead } from '../request-head.js';
import type { Route, RouteRequest } from '../route.js';
import { decodeBody } from '../routes/request-body.js';

const BODY_BYTES_MAX = 1_024;
const USES: readonly StreamUse[] = ['websocket', 'sse', 'events'];

/** `POST /v1/stream/token` `{use: "websocket" | "sse" | "events"}` -> `{token, expiresAt}`: what a page shows where it cannot send its key. */
export class StreamTokenRoute implements Route<Caller> {
  readonly path = '/v1/stream/token';
  readonly bodyBytesMax = BODY_BYTES_MAX;
  readonly #parts: AuthorizeParts;

  constructor(parts: AuthorizeParts) {
    this.#parts = parts;
  }

  authorize(head: RequestHead, reply: Reply): Caller {
    const caller = authorizeCaller(this.#parts, head, reply);
    if (caller.entry.kind === 'web') return caller;
    throw new PlatformError('wrong-key-kind', 'Tokens are for pages: use a client credential.');
  }

  preflight(_head: RequestHead, reply: Reply): void {
    answerPreflight(reply);
  }

  handle({ caller: { slot, entry }, format, body, reply }: RouteRequest<Caller>): undefined {
    const value = decodeBody(body, format);
    const members = new Map<string, unknown>(typeof value === 'object' && value !== null ? Object.entries(value) : []);
    const use = USES.find((candidate) => candidate === members.get('use'));
    if (use === undefined || members.size !== 1) {
      const detail = `must be ${USES.join(' or ')}, and the only member`;
      throw new PlatformError('validation-failed', 'The request is not {use}.', {
        issues: [{ pointer: '/use', code: 'validation-failed', detail }],
      });
    }
    const expiresAt = Math.floor((this.#parts.now() + STREAM_LIMITS.tokenMs) / 1000) * 1000;
    const answer = { token: mintStreamToken(slot.environment, entry, use, expiresAt), expiresAt };
    reply.end(
      200,
      [
        ['Content-Type', MEDIA_TYPES[reply.format]],
        ['Cache-Control', 'private, no-store'],
      ],
      reply.format === 'msgpack' ? encodeMsgpack(answer) : JSON.stringify(answer),
    );
    return undefined;
  }
}
