const TIMEOUT_MS = 10_000;
/** A token is good for an hour of the node's clock; ours may be another, so it counts from when it came. */
const TOKEN_MS = 50 * 60_000;
const RETRY_MS_MAX = 60_000;

/** A request that a node did not answer as hoped. */
export class NodeFailure extends Error {
  /** A code of a problem, or `unreachable`. */
  readonly code: string;
  /** 0: there was no answer. */
  readonly status: number;
  /** What the node asked for, at most a minute. */
  readonly retryAfterMs: number;

  constructor(code: string, status = 0, retryAfterMs = 0) {
    super(code);
    this.code = code;
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Requests to the node. Each is sent once: whoever wants it again asks again, after an answer or the end of its time. */
export class NodeApi {
  readonly url: string;
  readonly #key: string;
  readonly #tokens = new Map<string, { readonly token: string; readonly untilMs: number }>();

  constructor(url: string, key: string) {
    this.url = url.replace(/\/+$/, '');
    this.#key = key;
  }

  /** The body of a 2xx, or undefined of a 304. Rejects with NodeFailure. */
  async post(
    path: string,
    body: string,
    headers: Readonly<Record<string, string>> = {},
    how: { readonly keepalive?: boolean } = {},
  ): Promise<NodeAnswer> {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), TIMEOUT_MS);
    try {
      const answer = await fetch(this.url + path, {
        method: 'POST',
        headers: { authorization: `Bearer ${this.#key}`, 'content-type': 'application/json', ...headers },
        body,
        signal: abort.signal,
        credentials: 'omit',
        cache: 'no-store',
        ...how,
      });
      if (answer.status === 304) return { body: undefined, etag: headers['if-none-match'] };
      const read: unknown = await answer.json();
      const members = typeof read === 'object' && read !== null ? Object.fromEntries(Object.entries(read)) : {};
      if (answer.ok) return { body: members, etag: answer.headers.get('etag') ?? undefined };
      const seconds = Number(answer.headers.get('retry-after') ?? 0);
      throw new NodeFailure(
        String(members.code),
        answer.status,
        Math.min(RETRY_MS_MAX, seconds > 0 ? seconds * 1000 : 0),
      );
    } catch (error) {
      throw error instanceof NodeFailure ? error : new NodeFailure('unreachable');
    } finally {
      clearTimeout(timer);
    }
  }

  /** What stands for the key where a URL or a subprotocol carries it. */
  async token(use: string): Promise<string> {
    const held = this.heldToken(use);
    if (held !== undefined) return held;
    const { body } = await this.post('/v1/stream/token', JSON.stringify({ use }));
    const token = String(body?.token);
    this.#tokens.set(use, { token, untilMs: Date.now() + TOKEN_MS });
    return token;
  }

  /** The one held, if there is one that is still good: where nobody can wait. */
  heldToken(use: string): string | undefined {
    const held = this.#tokens.get(use);
    return held !== undefined && held.untilMs > Date.now() ? held.token : undefined;
  }

  /** It was refused: the next one is another. */
  forgetToken(use: string): void {
    this.#tokens.delete(use);
  }
}

export interface NodeAnswer {
  readonly body: Readonly<Record<string, unknown>> | undefined;
  readonly etag: string | undefined;
}
