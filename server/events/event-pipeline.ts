import { join } from 'node:path';
import type { EventCarrier } from '@guidon/protocol/events';
import type pino from 'pino';
import { EventShipper, type EventSink } from './event-shipper.js';
import { EventSpool } from './event-spool.js';
import { UsageSummaries, type UsageSummariesOptions } from './usage-summaries.js';

export interface EventPipelineOptions extends Omit<UsageSummariesOptions, 'spool'> {
  /** Of the node; the spool lies in it. */
  readonly dataDirectory: string;
  readonly spoolBytesMax?: number | undefined;
  readonly sink: EventSink;
  readonly carrier?: EventCarrier | undefined;
  readonly logger: pino.Logger;
}

/** Everything of a process of a node that has to do with events: what its kernel counts and what clients send goes into the spool, the leader empties it. */
export class EventPipeline {
  readonly spool: EventSpool;
  readonly shipper: EventShipper;
  readonly #summaries: UsageSummaries;
  #isLeading = false;

  constructor(options: EventPipelineOptions) {
    const { dataDirectory, spoolBytesMax: bytesMax, sink, carrier, logger } = options;
    const directory = join(dataDirectory, 'events');
    this.spool = new EventSpool({ directory, logger, ...(bytesMax === undefined ? {} : { bytesMax }) });
    this.shipper = new EventShipper({ spool: this.spool, sink, carrier, logger });
    this.#summaries = new UsageSummaries({ ...options, spool: this.spool });
  }

  /** From here on this process carries on what all processes of the node have spooled. */
  lead(): void {
    this.#isLeading = true;
    this.shipper.start();
  }

  /** Once a second. */
  tick(): void {
    void this.#summaries.collect();
  }

  /** After the last answer: what was counted since the last tick is spooled, and carried on if that is quick. */
  async close(): Promise<void> {
    await this.#summaries.collect();
    // The first may have been under way since before the last answer.
    await this.#summaries.collect();
    await this.spool.flush();
    if (this.#isLeading) await this.shipper.close();
  }
}
