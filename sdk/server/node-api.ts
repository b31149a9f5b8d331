import { PlatformError } from '@guidon/protocol';
import { configFromText, type Position, positionText } from '@guidon/protocol/live-updates';
import type { ConfigMessage } from '@guidon/protocol/signed-config';

/** A node was not reached, or did not do what it was asked. */
export class NodeFailure extends Error {
  /** HTTP status; 0: there was no answer. */
  readonly status: number;
  /** How long it asked to be left alone; 0: it did not say. */
  readonly retryAfterMs: number;

  constructor(message: string, options: { status?: number; retryAfterMs?: number; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'NodeFailure';
    this.status = options.status ?? 0;
    this.retryAfterMs = options.retryAfterMs ?? 0;
  }

  /** The key is not in force there. */
  get isCredentialRefused(): boolean {
    return this.status === 401 || this.status === 403;
  }
}

/** `unchanged`: 304. `ahead`: that node is behind what this client has, which is kept (I8). */
export type ConfigAnswer =
  | { readonly kind: 'config'; readonly config: ConfigMessage; readonly etag: string }
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'ahead' };

interface RequestOptions {
  readonly headers: Readonly<Record<string, string>>;
  readonly method?: 'POST';
  readonly body?: string;
  readonly signal?: AbortSignal;
}

/** Until an answer begins and between two pieces of it. */
const SILENCE_MS = 10_000;
/** Longer than nodes keep. A whole configuration has at most this many bytes. */
const CONFIG_BYTES_MAX = 128 * 1024 * 1024;
const SMALL_BYTES_MAX = 1024 * 1024;
const RETRY_AFTER_MS_MAX = 300_000;

/**
 * What is asked of a node over HTTP. fetch sends one request at a time over a connection and sends none again, so nothing is pipelined or repeated
 * behind an answer that comes later.
 */
export class NodeApi {
  readonly #key: string;
  readonly #closing: AbortSignal;

  constructor(key: string, closing: AbortSignal) {
    this.#key = key;
    this.#closing = closing;
  }

  get headers(): Readonly<Record<string, string>> {
    return { authorization: `Bearer ${this.#key}` };
  }

  /** Parsed JSON. */
  async keySet(url: string): Promise<unknown> {
    const { answer, read } = await this.#request(`${url}/v1/key-set`, { headers: { accept: 'application/json' } });
    if (answer.status !== 200) throw await failureOf(answer);
    return parseJson(await read(SMALL_BYTES_MAX));
  }

  /** `etag`: of what the last answer for the same `since` had, '' for none. */
  async config(url: string, since: Position | undefined, etag: string): Promise<ConfigAnswer> {
    const query = since === undefined ? '' : `?since=${positionText(since)}`;
    const conditions = etag === '' ? {} : { 'if-none-match': etag };
    const headers = { accept: 'application/json', ...conditions };
    const { answer, read } = await this.#request(`${url}/v1/config${query}`, { headers });
    if (answer.status === 200) {
      const body = parseJson(await read(CONFIG_BYTES_MAX));
      const members = typeof body === 'object' && body !== null ? Object.fromEntries(Object.entries(body)) : {};
      return { kind: 'config', config: configFromText(members), etag: answer.headers.get('etag') ?? '' };
    }
    await answer.body?.cancel();
    if (answer.status === 304) return { kind: 'unchanged' };
    if (answer.status === 409) return { kind: 'ahead' };
    throw await failureOf(answer);
  }

  /** Parsed JSON of the answer. */
  async postEvents(url: string, body: string): Promise<unknown> {
    const { answer, read } = await this.#request(`${url}/v1/events`, {
      method: 'POST',
      headers: { accept: 'application/json', 'content-type': 'application/json' },
      body,
    });
    if (answer.status !== 202) throw await failureOf(answer);
    return parseJson(await read(SMALL_BYTES_MAX));
  }

  /** Server-sent events; whoever reads them ends them with `signal`. */
  async events(url: string, since: Position | undefined, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    const resume = since === undefined ? {} : { 'last-event-id': positionText(since) };
    const headers = { accept: 'text/event-stream', ...resume };
    const { answer } = await this.#request(`${url}/v1/stream/sse`, { headers, signal });
    if (answer.status !== 200 || answer.body === null) throw await failureOf(answer);
    return answer.body;
  }

  async #request(
    url: string,
    { headers, signal, ...init }: RequestOptions,
  ): Promise<{ readonly answer: Response; readonly read: (bytesMax: number) => Promise<string> }> {
    const silence = new Silence();
    const signals = [this.#closing, silence.signal, ...(signal === undefined ? [] : [signal])];
    try {
      const answer = await fetch(url, {
        ...init,
        headers: { ...this.headers, ...headers },
        signal: AbortSignal.any(signals),
      });
      silence.end();
      return { answer, read: (bytesMax) => readText(answer, bytesMax, silence) };
    } catch (cause) {
      silence.end();
      throw new NodeFailure('the node was not reached', { cause });
    }
  }
}

/** Ends what says nothing for too long: a connection may be half-open. */
class Silence {
  readonly #abort = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor() {
    this.begin();
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  begin(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#abort.abort(), SILENCE_MS);
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

async function readText(answer: Response, bytesMax: number, silence: Silence): Promise<string> {
  const chunks: Uint8Array[] = [];
  let byteCount = 0;
  try {
    silence.begin();
    for await (const chunk of answer.body ?? []) {
      silence.begin();
      byteCount += chunk.length;
      if (byteCount > bytesMax) throw new NodeFailure(`the answer has more than ${bytesMax} bytes`);
      chunks.push(chunk);
    }
  } catch (cause) {
    throw cause instanceof NodeFailure ? cause : new NodeFailure('the answer was cut off', { cause });
  } finally {
    silence.end();
  }
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new PlatformError('malformed-body', 'the answer is not JSON', { cause });
  }
}

async function failureOf(answer: Response): Promise<NodeFailure> {
  await answer.body?.cancel();
  const seconds = Number(answer.headers.get('retry-after') ?? '');
  const retryAfterMs = Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds * 1000, RETRY_AFTER_MS_MAX) : 0;
  return new NodeFailure(`the node answered ${answer.status}`, { status: answer.status, retryAfterMs });
}
