import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type BusSettings,
  type BusStatus,
  type BusSubscriber,
  type ChangeBus,
  PlatformError,
  SUBJECT_TOPICS,
  subjectsOfTopic,
} from '@guidon/protocol';
import {
  AckPolicy,
  ConsumerEvents,
  type ConsumerMessages,
  connect,
  DeliverPolicy,
  DiscardPolicy,
  type JetStreamClient,
  type JetStreamManager,
  type NatsConnection,
  NatsError,
  nanos,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
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

const STREAM = 'GUIDON_CONFIG';
/** Enough that a subscriber that was away for a moment gets deltas without a gap; who missed more fetches over HTTP. */
const MESSAGES_PER_SUBJECT_MAX = 16;
/** Explicit, whatever the disk has: a server left to work them out refuses writes for good once the disk was full (M11). */
const STREAM_BYTES_MAX = 1024 * 1024 * 1024;
/** Within it the bus recognises a message by its id. */
const DUPLICATE_WINDOW_MS = 120_000;
const IDLE_HEARTBEAT_MS = 5_000;
/** Consumers that nobody asks any more are removed by the server. */
const CONSUMER_INACTIVE_MS = 30_000;
const STREAM_WAIT_MS = 250;

export interface NatsBusOptions extends BusSettings {
  /** It makes the stream and looks after it: the control plane. Subscribers need no permission to. */
  readonly isPublisher?: boolean;
  readonly logger: Logger;
}

/**
 * The change bus over NATS JetStream; with nats-events.ts and what both share the only files that name it. Connects when it is first used, and then for ever:
 *
 *   session: connect -> suitable server? -> [publisher: stream there? else onLost, make it] -> [subscribers: one consumer a topic] -> up
 *     -> connection, stream or consumer gone -> wait with full jitter -> next session
 *
 * A session never outlives its connection, so nothing that a reconnected server has forgotten is relied on, and nothing is buffered for a
 * server that is away: a publish without a session fails at once and the outbox tries again. Sequence numbers of the stream are no
 * record of anything: a store that was cut counts on from where it was cut (M9). A session that finds them lower than they were says so.
 */
export class NatsBus implements ChangeBus {
  readonly #options: NatsBusOptions;
  readonly #subscribers = new Set<BusSubscriber>();
  readonly #closing = new AbortController();
  #onLost: () => Promise<void> = () => Promise.resolve();
  #running: Promise<void> | undefined;
  #connection: NatsConnection | undefined;
  /** While messages can be published. */
  #jetstream: JetStreamClient | undefined;
  #isUp = false;
  #detail = 'not connected yet';
  #lastSequence = 0;

  constructor(options: NatsBusOptions) {
    this.#options = options;
  }

  /**
   * Throws when a server answers that cannot carry the bus. When none can be reached that is no error: it is tried for ever, and nothing
   * waits for it (I14).
   */
  static async check(settings: BusSettings, logger: Logger): Promise<void> {
    let connection: NatsConnection;
    try {
      connection = await connect(connectionOptions(settings));
    } catch (error) {
      logger.warn({ detail: reasonOf(error) }, 'NATS cannot be reached yet; changes travel by poll until it is');
      return;
    }
    try {
      assertSuitable(connection);
    } finally {
      await connection.close();
    }
  }

  async publish(subject: string, message: Uint8Array, messageId: string): Promise<void> {
    this.#start();
    const jetstream = this.#jetstream;
    if (jetstream === undefined) throw new PlatformError('not-ready', `NATS: ${this.#detail}`);
    try {
      const ack = await jetstream.publish(subject, message, {
        msgID: messageId,
        timeout: PUBLISH_TIMEOUT_MS,
        expect: { streamName: STREAM },
      });
      this.#lastSequence = Math.max(this.#lastSequence, ack.seq);
    } catch (error) {
      // Nobody takes messages of this subject any more: the stream is looked for at the start of a session.
      if (error instanceof NatsError && error.code === '503') void this.#connection?.close();
      throw new PlatformError('not-ready', `NATS has not taken a message: ${reasonOf(error)}`, { cause: error });
    }
  }

  subscribe(subscriber: BusSubscriber): () => void {
    this.#subscribers.add(subscriber);
    this.#start();
    // A session that runs without consumers gets them in the next one.
    if (this.#subscribers.size === 1) void this.#connection?.close();
    else if (this.#isUp) setImmediate(() => subscriber.resumed());
    return () => this.#subscribers.delete(subscriber);
  }

  onLost(listener: () => Promise<void>): void {
    this.#onLost = listener;
    // Whether anything was lost is known once the stream has been looked at, long before the next change perhaps.
    this.#start();
  }

  status(): BusStatus {
    return { kind: 'nats', isConnected: this.#isUp, detail: this.#detail };
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#connection?.close();
    await this.#running;
  }

  #start(): void {
    if (!this.#closing.signal.aborted) this.#running ??= this.#runSessions();
  }

  /** Never rejects. */
  async #runSessions(): Promise<void> {
    await repeatSessions(
      (onUp) => this.#runSession(onUp),
      this.#closing.signal,
      (reason, isNew) => {
        this.#detail = reason;
        if (isNew) this.#options.logger.warn({ reason }, 'NATS is not there; changes travel by poll');
      },
    );
    this.#detail = 'closed';
  }

  async #runSession(onUp: () => void): Promise<void> {
    const connection = await connect(connectionOptions(this.#options));
    this.#connection = connection;
    try {
      // It may have been closed while it was made.
      if (this.#closing.signal.aborted) return;
      assertSuitable(connection);
      const manager = await connection.jetstreamManager({ ...jetstreamOptionsOf(this.#options), checkAPI: false });
      if (this.#options.isPublisher === true) await this.#takeStream(manager);
      this.#jetstream = connection.jetstream(jetstreamOptionsOf(this.#options));
      const consumers = this.#subscribers.size === 0 ? [] : await this.#consume(connection, manager);
      this.#isUp = true;
      this.#detail = connection.getServer();
      this.#options.logger.info({ server: this.#detail }, 'connected to NATS');
      onUp();
      for (const subscriber of this.#subscribers) subscriber.resumed();
      const ended = await Promise.race([connection.closed(), ...consumers.map(endOf)]);
      if (ended instanceof Error) throw ended;
    } finally {
      this.#isUp = false;
      this.#jetstream = undefined;
      this.#connection = undefined;
      await connection.close();
    }
  }

  /** Makes the stream when it is not there, and gives it our limits when it has others. */
  async #takeStream(manager: JetStreamManager): Promise<void> {
    const config = streamConfig(this.#options.replicaCount ?? 1);
    const info = await manager.streams.info(STREAM).catch((error: unknown) => {
      if (isNotFound(error)) return undefined;
      throw error;
    });
    if (info === undefined) {
      // Told first: when this process dies in between, the next one finds no stream either and tells again.
      await this.#onLost();
      await manager.streams.add(config);
      this.#lastSequence = 0;
      return;
    }
    const { config: present } = info;
    const differs = Object.entries(config).some(
      ([name, value]) => JSON.stringify(value) !== JSON.stringify(Reflect.get(present, name)),
    );
    if (differs) await manager.streams.update(STREAM, config);
    if (info.state.last_seq < this.#lastSequence) {
      this.#options.logger.warn('NATS has lost messages it had taken; publishing everything again');
      await this.#onLost();
    }
    this.#lastSequence = info.state.last_seq;
  }

  /** Waits for the stream, which the control plane makes. */
  async #consume(connection: NatsConnection, manager: JetStreamManager): Promise<ConsumerMessages[]> {
    for (;;) {
      try {
        return await Promise.all(SUBJECT_TOPICS.map((topic) => this.#consumeTopic(connection, manager, topic)));
      } catch (error) {
        if (!isNotFound(error) || connection.isClosed()) throw error;
        this.#detail = `${connection.getServer()} has no stream ${STREAM} yet: is the control plane connected to it?`;
        await sleep(STREAM_WAIT_MS, undefined, { signal: this.#closing.signal });
      }
    }
  }

  /** One filter a consumer: nats-server 2.9 hangs on several. The newest message of each environment comes first. */
  async #consumeTopic(
    connection: NatsConnection,
    manager: JetStreamManager,
    topic: (typeof SUBJECT_TOPICS)[number],
  ): Promise<ConsumerMessages> {
    const { name } = await manager.consumers.add(STREAM, {
      name: `guidon-${topic}-${randomBytes(8).toString('hex')}`,
      filter_subject: subjectsOfTopic(topic),
      deliver_policy: DeliverPolicy.LastPerSubject,
      ack_policy: AckPolicy.None,
      inactive_threshold: nanos(CONSUMER_INACTIVE_MS),
      mem_storage: true,
      num_replicas: 1,
    });
    const consumer = await connection.jetstream(jetstreamOptionsOf(this.#options)).consumers.get(STREAM, name);
    return consumer.consume({
      max_messages: 256,
      idle_heartbeat: IDLE_HEARTBEAT_MS,
      abort_on_missing_resource: true,
      callback: (message) => {
        for (const subscriber of this.#subscribers) subscriber.message(message.subject, message.data);
      },
    });
  }
}

/**
 * Resolves with why nothing comes from a consumer any more. It lives on one server of a cluster: when that one dies, the connection to another goes
 * on, and the library asks for the consumer every 30 s until it is there again. Noticed after two heartbeats; the next session makes a new one.
 */
async function endOf(messages: ConsumerMessages): Promise<Error> {
  for await (const { type } of await messages.status()) {
    if (type === ConsumerEvents.HeartbeatsMissed) return new Error('a consumer is not heard of any more');
  }
  return (await messages.closed()) ?? new Error('a consumer ended');
}

function streamConfig(replicaCount: number): Partial<StreamConfig> & { name: string } {
  return {
    name: STREAM,
    subjects: SUBJECT_TOPICS.map(subjectsOfTopic),
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.Old,
    num_replicas: replicaCount,
    max_msgs_per_subject: MESSAGES_PER_SUBJECT_MAX,
    max_bytes: STREAM_BYTES_MAX,
    max_msg_size: MESSAGE_BYTES_MAX,
    duplicate_window: nanos(DUPLICATE_WINDOW_MS),
  };
}
