import type { EnvironmentRef } from '../environment-ref.js';

/** What a node needs of the bus to send events on. Whether it is there or not, HTTP does the same work. */
export interface EventCarrier {
  isConnected(): boolean;
  /** `body`: lines of messages of one environment. Resolves once the bus has kept them; rejects when it has not or may not have. */
  publish(environment: EnvironmentRef, body: Uint8Array, messageId: string): Promise<void>;
  close(): Promise<void>;
}

/** What the control plane needs of the bus to hear of events. */
export interface EventFeed {
  /** `take` is given lines of messages; what it rejects comes again. Until `close`. */
  subscribe(take: (lines: string) => Promise<void>): void;
  close(): Promise<void>;
}
