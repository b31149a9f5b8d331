/**
 * How a change reaches nodes quickly. The bus is a hint, never the record: a message may be lost, repeated or late, and every node
 * polls digests beside it. Messages are opaque bytes here; their trust rests on the signature inside.
 */
export interface ChangeBus {
  /**
   * Resolves when the bus has taken the message; rejects when it has not or may not have: publish it again under the same `messageId`,
   * by which a bus that keeps messages knows the second one.
   */
  publish(subject: string, message: Uint8Array, messageId: string): Promise<void>;
  /** Until the returned function is called. A subscriber may be given messages from before it came. */
  subscribe(subscriber: BusSubscriber): () => void;
  /**
   * For whoever publishes, one listener: what the bus had kept is gone, or was never there. The bus takes messages again once the
   * listener's promise has resolved; everything that counts has to be published again.
   */
  onLost(listener: () => Promise<void>): void;
  status(): BusStatus;
  close(): Promise<void>;
}

/** What a node needs of a bus: to hear. */
export type ChangeHints = Pick<ChangeBus, 'subscribe' | 'status'>;

/** Neither may throw. */
export interface BusSubscriber {
  message(subject: string, message: Uint8Array): void;
  /** From here on messages arrive; before, some may have been missed. Called at the first time too. */
  resumed(): void;
}

export interface BusStatus {
  /** `upstream`: another node, which is asked whether something has changed and answers when it has. */
  readonly kind: 'in-process' | 'nats' | 'upstream';
  /** Messages go out and come in. */
  readonly isConnected: boolean;
  /** Which server, or why there is none; without secrets. */
  readonly detail: string;
}

/** How to reach a bus outside the process; plain JSON, since it is handed to child processes. Files are read at each connection. */
export interface BusSettings {
  /** `nats://host:port` or `tls://…`, several of one cluster; a user and password may stand in a URL. */
  readonly servers: readonly string[];
  readonly credsFile?: string;
  /** Certificate authorities to trust instead of the system's. */
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  /** Copies of what the bus keeps in a cluster. */
  readonly replicaCount?: number;
  /** Where the stream is, when the servers named are leaf nodes of another cluster: its JetStream domain. */
  readonly domain?: string;
}

/** The bus of a single process (`guidon dev`): delivers in publish order, one turn of the event loop later. */
export class InProcessChangeBus implements ChangeBus {
  readonly #subscribers = new Set<BusSubscriber>();
  #isClosed = false;

  publish(subject: string, message: Uint8Array, _messageId: string): Promise<void> {
    if (this.#isClosed) return Promise.reject(new Error('the in-process bus is closed'));
    setImmediate(() => {
      for (const subscriber of this.#subscribers) subscriber.message(subject, message);
    });
    return Promise.resolve();
  }

  subscribe(subscriber: BusSubscriber): () => void {
    this.#subscribers.add(subscriber);
    setImmediate(() => {
      if (this.#subscribers.has(subscriber)) subscriber.resumed();
    });
    return () => this.#subscribers.delete(subscriber);
  }

  /** Never: it keeps nothing. */
  onLost(): void {}

  status(): BusStatus {
    return { kind: 'in-process', isConnected: !this.#isClosed, detail: this.#isClosed ? 'closed' : 'this process' };
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.#subscribers.clear();
    return Promise.resolve();
  }
}
