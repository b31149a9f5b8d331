/**
 * How a change reaches nodes quickly. The bus is a hint, never the record: a message may be lost, repeated or late, and every node
 * polls digests beside it. Messages are opaque bytes here; their trust rests on the signature inside.
 */
export interface ChangeBus {
  /** Resolves when the bus has taken the message; rejects when it has not or may not have: publish it again. */
  publish(subject: string, message: Uint8Array): Promise<void>;
  /** Calls `handler` for each message until the returned function is called. A handler must not throw. */
  subscribe(handler: (subject: string, message: Uint8Array) => void): () => void;
  status(): 'connected' | 'disconnected';
  close(): Promise<void>;
}

/** The bus of a single process (`guidon dev`): delivers in publish order, one turn of the event loop later. */
export class InProcessChangeBus implements ChangeBus {
  readonly #handlers = new Set<(subject: string, message: Uint8Array) => void>();
  #isClosed = false;

  publish(subject: string, message: Uint8Array): Promise<void> {
    if (this.#isClosed) return Promise.reject(new Error('the in-process bus is closed'));
    setImmediate(() => {
      for (const handler of this.#handlers) handler(subject, message);
    });
    return Promise.resolve();
  }

  subscribe(handler: (subject: string, message: Uint8Array) => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  status(): 'connected' | 'disconnected' {
    return this.#isClosed ? 'disconnected' : 'connected';
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.#handlers.clear();
    return Promise.resolve();
  }
}
