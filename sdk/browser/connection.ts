import { Backoff } from '@guidon/sdk-core';
import type { EvaluatedFlag } from './browser-client.js';
import type { FlagValues, ValuesPosition } from './flag-values.js';
import { type NodeApi, NodeFailure } from './node-api.js';
import type { StreamTransport } from './open-stream.js';
import { isResult } from './stored-values.js';
import { jittered, ValueStream } from './value-stream.js';

export interface ConnectionParts {
  readonly api: NodeApi;
  readonly contextText: string;
  readonly stream: StreamTransport | 'poll';
  readonly pollSeconds: number;
  /** Read alone: what came goes to `onValues`. */
  readonly values: FlagValues;
  /** False: what is held is newer. */
  readonly onValues: (results: Iterable<EvaluatedFlag>, at: ValuesPosition) => boolean;
  /** A node was reached, and what is held is what it has. */
  readonly onConfirmed: () => void;
  readonly onFailure: (failure: NodeFailure) => void;
}

/**
 * Keeps the values of one context as a node has them: asks at once, so that a page does not wait for a stream, then as often as `pollSeconds` says
 * whether or not a stream is up, and hears between two questions what is pushed. One question is under way at a time.
 */
export class Connection {
  readonly #parts: ConnectionParts;
  readonly #stream: ValueStream | undefined;
  readonly #backoff: Backoff;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isAsking = false;
  #isOpen = false;
  /** Of the answer that what is held came in: nothing else may be confirmed by it. */
  #etag: { readonly text: string; readonly of: ReadonlyMap<string, EvaluatedFlag> } | undefined;

  constructor(parts: ConnectionParts) {
    const { api, contextText, stream, pollSeconds, values, onValues, onConfirmed, onFailure } = parts;
    this.#parts = parts;
    this.#backoff = new Backoff({ firstMs: 1_000, maxMs: pollSeconds * 1_000 });
    if (stream === 'poll') return;
    const position = (): ValuesPosition | undefined => values.position;
    this.#stream = new ValueStream({ api, contextText, transport: stream, position, onValues, onConfirmed, onFailure });
  }

  open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.retry();
  }

  close(): void {
    this.#isOpen = false;
    clearTimeout(this.#timer);
    this.#stream?.stop();
  }

  /** The network is there again, or is not, or is another: begins anew. */
  retry(): void {
    if (!this.#isOpen) return;
    this.#stream?.restart();
    void this.#ask();
  }

  async #ask(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    clearTimeout(this.#timer);
    const { api, contextText, values, pollSeconds, onConfirmed, onFailure } = this.#parts;
    const etag = this.#etag?.of === values.results ? this.#etag.text : undefined;
    let nextMs = jittered(pollSeconds * 1_000);
    try {
      const answer = await api.post(
        '/v1/values',
        `{"context":${contextText}}`,
        etag === undefined ? {} : { 'if-none-match': etag },
      );
      if (!this.#isOpen) return;
      if (answer.body === undefined) onConfirmed();
      else this.#take(answer.body, answer.etag);
      if (this.#backoff.failureCount > 0) this.#stream?.kick();
      this.#backoff.succeeded();
    } catch (error) {
      if (!this.#isOpen) return;
      if (!(error instanceof NodeFailure)) throw error;
      nextMs = Math.max(this.#backoff.failedMs(), error.retryAfterMs);
      onFailure(error);
    } finally {
      this.#isAsking = false;
      if (this.#isOpen) this.#timer = setTimeout(() => void this.#ask(), nextMs);
    }
  }

  #take({ epoch, revision, results }: Readonly<Record<string, unknown>>, etag: string | undefined): void {
    if (typeof revision !== 'number' || !Array.isArray(results)) throw new NodeFailure('unreachable');
    const { onValues, values } = this.#parts;
    const isTaken = onValues(results.filter(isResult), {
      epoch: typeof epoch === 'number' ? epoch : undefined,
      revision,
    });
    this.#etag = isTaken && etag !== undefined ? { text: etag, of: values.results } : undefined;
  }
}
