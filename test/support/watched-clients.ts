import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  configFromText,
  findPosition,
  type Position,
  positionText,
  type ServerMessage,
  STREAM_PROTOCOLS,
} from '@guidon/protocol/live-updates';
import { decodeServerMessage } from '@guidon/protocol/msgpack';
import { type ConfigMessage, parseManifest } from '@guidon/protocol/signed-config';
import { encode } from '@msgpack/msgpack';
import { WebSocket } from 'ws';
import { ClientConfig } from './stream-client.js';
import type { WatchLog } from './watch-checker.js';

/** Between two tries to connect, and between two polls. */
const RECONNECT_MS = 150;
const POLL_MS = 400;
/** Nothing came of it: a half-open connection. */
const ANSWER_MS_MAX = 3_000;

export interface WatchedClientOptions {
  /** One after the other, a new one with each connection: a client is at no node's mercy (I8). */
  readonly urls: readonly string[];
  readonly key: string;
  readonly log: WatchLog;
}

/** A client that keeps what it has across connections and writes everything it hears into its log. */
export interface WatchedClient {
  readonly log: WatchLog;
  close(): Promise<void>;
}

/** Definitions of a server key, from whatever transport; tells the log. */
class WatchedConfig {
  readonly #log: WatchLog;
  readonly #config = new ClientConfig();

  constructor(log: WatchLog) {
    this.#log = log;
  }

  take(config: ConfigMessage): void {
    const { epoch, revision, digest } = parseManifest(config.signed.document);
    const at = { epoch, revision };
    this.#config.take(config);
    const content = { hash: this.#config.digest, signedHash: digest };
    if (config.previousRevision === 0) this.#log.whole(at, content);
    else this.#log.change({ epoch, revision: config.previousRevision }, at, content);
  }
}

/** Values of a client key for one context. A patch is of what the client acknowledged last: it names no revision before. */
class WatchedValues {
  readonly #log: WatchLog;
  readonly #values = new Map<string, unknown>();

  constructor(log: WatchLog) {
    this.#log = log;
  }

  take(message: ServerMessage & { readonly type: 'put' | 'patch' }): void {
    if ('config' in message) throw new Error('definitions for a client key');
    const { epoch, revision } = message;
    if (message.type === 'put') this.#values.clear();
    for (const flag of message.values.removed) this.#values.delete(flag);
    for (const { flag, value } of message.values.results) this.#values.set(String(flag), value);
    const content = { hash: hashOfValues(this.#values) };
    const { at } = this.#log;
    if (message.type === 'put') this.#log.whole({ epoch, revision }, content);
    else this.#log.change(at ?? { epoch: 0, revision: 0 }, { epoch, revision }, content);
  }
}

export function hashOfValues(values: ReadonlyMap<string, unknown>): string {
  const sorted = [...values].sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256').update(JSON.stringify(sorted)).digest('hex').slice(0, 32);
}

/** Over WebSocket: with a server key definitions, with a client key the values for `context`. */
export function watchSocket(
  options: WatchedClientOptions & { readonly origin?: string; readonly context?: unknown },
): WatchedClient {
  const { log, key, origin, context } = options;
  const config = new WatchedConfig(log);
  const values = new WatchedValues(log);
  return keepConnecting(
    options,
    (url, signal) =>
      new Promise<void>((resolve) => {
        const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/v1/stream`, [STREAM_PROTOCOLS.msgpack], {
          ...(origin === undefined ? {} : { origin }),
          headers: { authorization: `Bearer ${key}` },
          handshakeTimeout: ANSWER_MS_MAX,
        });
        const end = () => socket.terminate();
        signal.addEventListener('abort', end, { once: true });
        socket.on('open', () => {
          log.connected();
          socket.send(encode({ type: 'hello', ...log.at, ...(context === undefined ? {} : { context }) }));
        });
        socket.on('message', (data: Buffer) => {
          hear(log, () => {
            const message = decodeServerMessage('msgpack', data);
            if (message.type !== 'put' && message.type !== 'patch') return;
            if ('config' in message) config.take(message.config);
            else values.take(message);
            if (log.at !== undefined) socket.send(encode({ type: 'ack', ...log.at }));
          });
        });
        socket.on('unexpected-response', (_, response) => {
          response.destroy();
          socket.terminate();
        });
        socket.on('error', () => undefined);
        socket.on('close', () => {
          signal.removeEventListener('abort', end);
          resolve();
        });
      }),
  );
}

/** Server-sent events with a server key, resumed by Last-Event-ID. */
export function watchEvents(options: WatchedClientOptions): WatchedClient {
  const { log, key } = options;
  const config = new WatchedConfig(log);
  return keepConnecting(options, async (url, signal) => {
    const connecting = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS_MAX)]);
    const answer = await openWithin(connecting, signal, `${url}/v1/stream/sse`, {
      authorization: `Bearer ${key}`,
      ...(log.at === undefined ? {} : { 'last-event-id': positionText(log.at) }),
    });
    if (answer.status !== 200) {
      await answer.body?.cancel();
      return;
    }
    log.connected();
    const decoder = new TextDecoder();
    let rest = '';
    for await (const chunk of answer.body ?? []) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n\n');
      rest = parts.pop() ?? '';
      for (const part of parts) {
        const data = /^data: (.*)$/m.exec(part)?.[1];
        if (data === undefined) continue;
        hear(log, () => {
          const message = decodeServerMessage('json', Buffer.from(data));
          if (message.type !== 'put' && message.type !== 'patch') return;
          if (!('config' in message)) throw new Error('values for a server key');
          config.take(message.config);
          const id = findPosition(/^id: (.*)$/m.exec(part)?.[1] ?? '');
          if (id === undefined || !isSame(id, log.at)) throw new Error('the id of another position');
        });
      }
    }
  });
}

/** `GET /v1/config` with ETag and `since`, each poll at the next node. */
export function watchPolls(options: WatchedClientOptions): WatchedClient {
  const { log, key } = options;
  const config = new WatchedConfig(log);
  let etag = '';
  return keepConnecting(
    options,
    async (url, signal) => {
      const query = log.at === undefined ? '' : `?since=${positionText(log.at)}`;
      const headers = { authorization: `Bearer ${key}`, 'if-none-match': etag, accept: 'application/json' };
      const within = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS_MAX)]);
      const answer = await fetch(`${url}/v1/config${query}`, { headers, signal: within });
      const body: unknown = answer.status === 304 ? undefined : await answer.json();
      // 409: this node is behind, keep what is there (I8).
      if (answer.status !== 200 || typeof body !== 'object' || body === null) return;
      etag = answer.headers.get('etag') ?? '';
      hear(log, () => {
        const message = configFromText(Object.fromEntries(Object.entries(body)));
        if (isSame(parseManifest(message.signed.document), log.at)) return;
        log.connected();
        config.take(message);
      });
    },
    POLL_MS,
  );
}

const isSame = (a: Position, b: Position | undefined): boolean => a.epoch === b?.epoch && a.revision === b.revision;

function hear(log: WatchLog, take: () => void): void {
  try {
    take();
  } catch (error) {
    log.unreadable(error);
  }
}

/** Gives up on the answer's head by `connecting`, and on its body by `signal` alone. */
async function openWithin(
  connecting: AbortSignal,
  signal: AbortSignal,
  url: string,
  headers: Record<string, string>,
): Promise<Response> {
  const stop = new AbortController();
  const end = () => stop.abort();
  connecting.addEventListener('abort', end);
  try {
    return await fetch(url, { headers, signal: AbortSignal.any([signal, stop.signal]) });
  } finally {
    connecting.removeEventListener('abort', end);
  }
}

/** A connection that fails is what the run is about: another one is made. */
function keepConnecting(
  { urls, log }: WatchedClientOptions,
  connect: (url: string, signal: AbortSignal) => Promise<void>,
  pauseMs = RECONNECT_MS,
): WatchedClient {
  const stop = new AbortController();
  const { signal } = stop;
  const run = async (): Promise<void> => {
    for (let count = 0; !signal.aborted; count += 1) {
      const url = urls[count % urls.length] ?? '';
      await connect(url, signal).catch(() => undefined);
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  };
  const running = run();
  return {
    log,
    close: async () => {
      stop.abort();
      await running;
    },
  };
}
