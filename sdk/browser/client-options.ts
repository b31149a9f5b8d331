import type { Context } from '@guidon/sdk-core';
import type { Bootstrap } from './browser-client.js';
import type { StreamTransport } from './open-stream.js';
import type { ValueStorage } from './stored-values.js';

export interface BrowserClientOptions {
  /** Of the node, such as `https://flags.example.com`. */
  readonly url: string;
  /** A client key, `gdn_web_…`, that allows the page's origin. */
  readonly key: string;
  /** Whom the flags are evaluated for; `identify` replaces it. Default: nobody in particular, `{}`. */
  readonly context?: Context;
  /** What a server evaluated for `context` when it rendered the page. */
  readonly bootstrap?: Bootstrap;
  /** How values are pushed. Default: WebSocket, and server-sent events where it does not get through. `poll`: they are not. */
  readonly stream?: StreamTransport | 'poll';
  /** How often a node is asked, whether or not a stream is up: 5 to 60, default 30. */
  readonly pollSeconds?: number;
  /** Values count as STALE when nobody has confirmed them for so long: 1 and more, default 120. */
  readonly staleAfterSeconds?: number;
  /** Where values are kept for the next time the page is opened: default `localStorage`; null: nowhere. */
  readonly storage?: ValueStorage | null;
  /** Where what goes wrong is said: default nowhere. */
  readonly logger?: { warn(message: string, error?: unknown): void };
}

/** The options with their defaults. */
export interface ClientOptions {
  readonly url: string;
  readonly key: string;
  readonly stream: StreamTransport | 'poll';
  readonly pollSeconds: number;
  readonly staleAfterSeconds: number;
  readonly storage: ValueStorage | undefined;
  readonly warn: (message: string, error?: unknown) => void;
}

/** Throws TypeError for what can never work: it is wrong in the program. */
export function parseOptions(options: BrowserClientOptions): ClientOptions {
  const { url, key, stream = 'websocket', pollSeconds = 30, staleAfterSeconds = 120, storage, logger } = options;
  if (!/^https?:\/\/[^/?#]+/.test(url)) throw new TypeError('url must be http(s)://host');
  if (!key.startsWith('gdn_web_')) throw new TypeError('key must be a client key: gdn_web_…');
  if (!['websocket', 'sse', 'poll'].includes(stream)) throw new TypeError('stream must be websocket, sse or poll');
  if (!(pollSeconds >= 5 && pollSeconds <= 60)) throw new TypeError('pollSeconds must be from 5 to 60');
  if (!(staleAfterSeconds >= 1)) throw new TypeError('staleAfterSeconds must be 1 or more');
  return {
    url,
    key,
    stream,
    pollSeconds,
    staleAfterSeconds,
    storage: storage === undefined ? findLocalStorage() : (storage ?? undefined),
    warn: (message, error) => logger?.warn(message, error),
  };
}

/** Undefined where there is none: on a server, and where the person or the page's frame forbids it, which throws. */
function findLocalStorage(): ValueStorage | undefined {
  try {
    return globalThis.localStorage ?? undefined;
  } catch {
    return undefined;
  }
}
