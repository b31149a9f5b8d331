import {
  type BusSettings,
  type EnvironmentRef,
  EVENTS_SUBJECTS,
  eventsSubjectOf,
  PlatformError,
} from '@guidon/protocol';
import { type EventCarrier, type EventFeed, environmentOfLine, eventLines } from '@guidon/protocol/events';
import {
  AckPolicy,
  connect,
  DiscardPolicy,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg,
  type NatsConnection,
  nanos,
  RetentionPolicy,
  StorageType,
} from 'nats';
import type { Logger } from 'pino';
import {
  assertSuitable,
  connectionOptions,
  isNotFound,
  jetstreamOptionsOf,
  MESSAGE_BYTES_MAX,
  PUBLISH_TIMEOUT_MS,
  reasonOf,
  repeatSessions,
} from './nats-connection.js';

const STREAM = 'GUIDON_EVENTS';
const CONSUMER = 'guidon-control-plane';
/** When it is full it takes no more, and nodes keep what they have: nothing that was taken is dropped. */
const STREAM_BYTES_MAX = 512 * 1024 * 1024;
const DUPLICATE_WINDOW_MS = 120_000;
/** The control plane has taken a message within this time, or is given it again. */
const ACK_WAIT_MS = 30_000;
const ACKS_PENDING_MAX = 64;
const REFUSED_DELAY_MS = 1_000;
const IDLE_HEARTBEAT_MS = 5_000;

export interface NatsEventsOptions extends BusSettings {
  readonly logger: Logger;
}

/**
 * Events over NATS JetStream: nodes publish, the control plane takes each message and acknowledges it once it has kept it. A connection of its own, so
 * that no amount of events holds up a change of config; sessions as NatsBus has them. The stream is a queue: what is acknowledged is gone.
 */
export class NatsEvents implements EventCarrier, EventFeed {
  readonly #options: NatsEventsOptions;
  readonly #closing = new AbortController();
  #running: Promise<void> | undefined;
  #connection: NatsConnection | undefined;
  #jetstream: JetStreamClient | undefined;
  /** Of the control plane. */
  #take: ((lines: string) => Promise<void>) | undefined;

  constructor(options: NatsEventsOptions) {
    this.#options = options;
  }

  /** Connects when it is asked for the first time. */
  isConnected(): boolean {
    this.#start();
    return this.#jetstream !== undefined;
  }

  async publish(environment: EnvironmentRef, body: Uint8Array, messageId: string): Promise<void> {
    const jetstream = this.#jetstream;
    if (jetstream === undefined) throw new PlatformError('not-ready', 'NATS is not there for events');
    try {
      await jetstream.publish(eventsSubjectOf(environment), body, {
        msgID: messageId,
        timeout: PUBLISH_TIMEOUT_MS,
        expect: { streamName: STREAM },
      });
    } catch (cause) {
      throw new PlatformError('not-ready', `NATS has not taken events: ${reasonOf(cause)}`, { cause });
    }
  }

  subscribe(take: (lines: string) => Promise<void>): void {
    this.#take = take;
    this.#start();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#connection?.close();
    await this.#running;
  }

  #start(): void {
    if (this.#closing.signal.aborted) return;
    this.#running ??= repeatSessions(
      (onUp) => this.#runSession(onUp),
      this.#closing.signal,
      (reason, isNew) => {
        if (isNew) this.#options.logger.info({ reason }, 'NATS is not there for events; they travel over HTTP');
      },
    );
  }

  async #runSession(onUp: () => void): Promise<void> {
    const connection = await connect(connectionOptions(this.#options));
    this.#connection = connection;
    try {
      if (this.#closing.signal.aborted) return;
      assertSuitable(connection);
      const jetstream = connection.jetstream(jetstreamOptionsOf(this.#options));
      const ended: Promise<unknown>[] = [connection.closed()];
      if (this.#take !== undefined) {
        const manager = await connection.jetstreamManager({ ...jetstreamOptionsOf(this.#options), checkAPI: false });
        await this.#takeStream(manager);
        ended.push(this.#consume(jetstream, this.#take));
      }
      this.#jetstream = jetstream;
      onUp();
      const reason = await Promise.race(ended);
      if (reason instanceof Error) throw reason;
    } finally {
      this.#jetstream = undefined;
      this.#connection = undefined;
      await connection.close();
    }
  }

  async #takeStream(manager: JetStreamManager): Promise<void> {
    const config = {
      name: STREAM,
      subjects: [EVENTS_SUBJECTS],
      retention: RetentionPolicy.Workqueue,
      storage: StorageType.File,
      discard: DiscardPolicy.New,
      num_replicas: this.#options.replicaCount ?? 1,
      max_bytes: STREAM_BYTES_MAX,
      max_msg_size: MESSAGE_BYTES_MAX,
      duplicate_window: nanos(DUPLICATE_WINDOW_MS),
    };
    try {
      await manager.streams.info(STREAM);
      await manager.streams.update(STREAM, config);
    } catch (error) {
      if (!isNotFound(error)) throw error;
      await manager.streams.add(config);
    }
    await manager.consumers.add(STREAM, {
      durable_name: CONSUMER,
      ack_policy: AckPolicy.Explicit,
      ack_wait: nanos(ACK_WAIT_MS),
      max_ack_pending: ACKS_PENDING_MAX,
    });
  }

  /** Resolves when the consumer has ended. One message at a time, so that what comes again comes in order. */
  async #consume(jetstream: JetStreamClient, take: (lines: string) => Promise<void>): Promise<void> {
    const consumer = await jetstream.consumers.get(STREAM, CONSUMER);
    const messages = await consumer.consume({
      max_messages: ACKS_PENDING_MAX,
      idle_heartbeat: IDLE_HEARTBEAT_MS,
      abort_on_missing_resource: true,
    });
    for await (const message of messages) await this.#takeMessage(message, take);
    throw (await messages.closed()) ?? new Error('the consumer of events ended');
  }

  async #takeMessage(message: JsMsg, take: (lines: string) => Promise<void>): Promise<void> {
    try {
      await take(this.#ownLines(message));
      message.ack();
    } catch (error) {
      this.#options.logger.debug({ err: error }, 'events could not be taken; they come again');
      message.nak(REFUSED_DELAY_MS);
    }
  }

  /** A user of NATS who may publish for one tenant speaks of no other: what a line says has to be what its subject says. */
  #ownLines({ subject, data }: JsMsg): string {
    const lines = eventLines(Buffer.from(data).toString('utf8'));
    return lines.filter((line) => isOf(subject, line)).join('\n');
  }
}

function isOf(subject: string, line: string): boolean {
  try {
    return eventsSubjectOf(environmentOfLine(line)) === subject;
  } catch (error) {
    if (error instanceof PlatformError) return false;
    throw error;
  }
}
