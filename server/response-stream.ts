import type { HttpResponse } from 'uWebSockets.js';

/**
 * A 200 whose body goes on: server-sent events. Made by Reply, and with it the only code that touches a uWS response after the handler returned
 * (I26). uWS keeps what the socket does not take and does not say how much: one write at a time may be under way.
 *
 *   open --write()--> open, or blocked until the socket has taken everything     open, blocked --end() or client gone--> ended
 */
export class ResponseStream {
  readonly #res: HttpResponse;
  readonly #onEnd: () => void;
  #state: 'open' | 'blocked' | 'ended' = 'open';
  #onDrain: () => void = () => undefined;
  #onGone: () => void = () => undefined;

  /** For Reply alone. `onEnd`: this side ended it. */
  constructor(res: HttpResponse, onEnd: () => void) {
    this.#res = res;
    this.#onEnd = onEnd;
    res.onWritable(() => {
      this.#state = 'open';
      this.#onDrain();
      return true;
    });
  }

  /** The socket has not taken everything yet. */
  get isBlocked(): boolean {
    return this.#state === 'blocked';
  }

  /** `onDrain`: everything written has been taken. `onGone`: the client left; called at most once, not after end(). */
  listen(onDrain: () => void, onGone: () => void): void {
    this.#onDrain = onDrain;
    this.#onGone = onGone;
  }

  /** True when the socket took it all. `chunk` is copied. */
  write(chunk: Uint8Array | string): boolean {
    if (this.#state === 'ended') return false;
    let isTaken = false;
    this.#res.cork(() => {
      isTaken = this.#res.write(chunk);
    });
    if (!isTaken && !this.#hasEnded()) this.#state = 'blocked';
    return isTaken;
  }

  end(): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#onEnd();
    this.#res.cork(() => this.#res.end('', true));
  }

  /** Ends the connection at once: the client does not read. */
  drop(): void {
    if (this.#state !== 'ended') this.#res.close();
  }

  /** For Reply alone: the client is gone. */
  gone(): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#onGone();
  }

  #hasEnded(): boolean {
    return this.#state === 'ended';
  }
}
