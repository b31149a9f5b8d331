import { PlatformError } from '@guidon/protocol';
import { encodeSigned } from '@guidon/protocol/msgpack';
import { keySetTextOf } from '@guidon/protocol/signed-config';
import type { Caller } from '../auth/access-directory.js';
import { type AuthorizeParts, authorizeCaller } from '../auth/authorize-caller.js';
import type { GetRequest, GetRoute } from '../get-route.js';
import { MEDIA_TYPES } from '../media-type.js';
import type { Reply } from '../reply.js';
import type { RequestHead } from '../request-head.js';
import type { SnapshotStore } from '../snapshot-store/snapshot-store.js';

export interface KeySetParts extends AuthorizeParts {
  readonly store: SnapshotStore;
}

/**
 * `GET /v1/key-set`: the signing keys and the root key that signed them, as this node verifies with. An SDK that evaluates by itself checks the
 * root key against its trust root, and asks again when it meets a key that it does not know.
 */
export class KeySetRoute implements GetRoute<Caller> {
  readonly path = '/v1/key-set';
  readonly #parts: KeySetParts;

  constructor(parts: KeySetParts) {
    this.#parts = parts;
  }

  authorize(head: RequestHead, reply: Reply): Caller {
    const caller = authorizeCaller(this.#parts, head, reply);
    if (caller.entry.kind === 'srv') return caller;
    throw new PlatformError('wrong-key-kind', 'Signed config is for server credentials, and so are the keys to it.');
  }

  handle({ reply }: GetRequest<Caller>): undefined {
    const { store } = this.#parts;
    const trust = store.readTogether(() => store.findTrust());
    if (trust === undefined) throw new PlatformError('not-ready', 'This node knows no keys yet.');
    const { rootPublicKey, keySet } = trust;
    reply.end(
      200,
      [
        ['Content-Type', MEDIA_TYPES[reply.format]],
        ['Cache-Control', 'private, no-store'],
      ],
      reply.format === 'msgpack'
        ? encodeSigned(keySet, { rootPublicKey })
        : JSON.stringify(keySetTextOf(rootPublicKey, keySet)),
    );
    return undefined;
  }
}
