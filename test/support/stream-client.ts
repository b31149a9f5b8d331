import { decodeDefinition } from '@guidon/engine';
import {
  type Position,
  positionText,
  type ServerMessage,
  STREAM_PROTOCOLS,
  type StreamFormat,
} from '@guidon/protocol/live-updates';
import { decodeServerMessage } from '@guidon/protocol/msgpack';
import { type ConfigMessage, DigestTree, hashDefinition, parseManifest } from '@guidon/protocol/signed-config';
import { encode } from '@msgpack/msgpack';
import { WebSocket } from 'ws';
import { until } from './running-node.js';

export interface StreamClientOptions {
  readonly key?: string;
  readonly format?: StreamFormat;
  readonly origin?: string;
  /** Instead of the format's own. */
  readonly protocols?: readonly string[];
  /** Of the hello; null sends none. */
  readonly hello?: { readonly since?: Position; readonly context?: unknown } | null;
  /** False: what arrives is not acknowledged. */
  readonly acknowledges?: boolean;
}

/**
 * A client over a real socket that checks what every client may rely on: positions rise, a patch comes only on what the client has, and what it has is
 * what the manifest says.
 */
export class StreamClient {
  readonly messages: ServerMessage[] = [];
  readonly socket: WebSocket;
  readonly #options: StreamClientOptions;
  readonly #definitions = new ClientConfig();
  /** By flag, of a client key. */
  readonly values = new Map<string, unknown>();
  at: Position | undefined;
  closed: { code: number; reason: string } | undefined;
  /** HTTP status in place of an upgrade. */
  refusedWith: number | undefined;
  /** What a message broke. */
  failure: unknown;

  constructor(url: string, options: StreamClientOptions) {
    this.#options = options;
    const { format = 'msgpack', key, origin, protocols = [STREAM_PROTOCOLS[format]], hello = {} } = options;
    this.at = hello?.since;
    this.socket = new WebSocket(`${url.replace(/^http/, 'ws')}/v1/stream`, [...protocols], {
      ...(origin === undefined ? {} : { origin }),
      headers: key === undefined ? {} : { authorization: `Bearer ${key}` },
    });
    this.socket.on('open', () => {
      if (hello !== null) this.send({ type: 'hello', ...hello.since, ...contextOf(hello) });
    });
    this.socket.on('message', (data: Buffer) => this.#hear(data));
    this.socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
    });
    this.socket.on('unexpected-response', (_, response) => {
      this.refusedWith = response.statusCode ?? 0;
      response.destroy();
      this.closed = { code: 0, reason: '' };
    });
    this.socket.on('error', () => undefined);
  }

  #hear(data: Buffer): void {
    try {
      const message = decodeServerMessage(this.#options.format ?? 'msgpack', data);
      this.messages.push(message);
      if (message.type !== 'put' && message.type !== 'patch') return;
      const { epoch, revision } = message;
      if (message.type === 'patch' && this.at === undefined) throw new Error('a patch on nothing');
      if (this.at !== undefined && (epoch < this.at.epoch || (epoch === this.at.epoch && revision < this.at.revision)))
        throw new Error(`went back from ${positionText(this.at)} to ${positionText(message)}`);
      if ('config' in message) this.#definitions.apply(message.config, this.at);
      else {
        if (message.type === 'put') this.values.clear();
        for (const flag of message.values.removed) this.values.delete(flag);
        for (const { flag, value } of message.values.results) this.values.set(String(flag), value);
      }
      this.at = { epoch, revision };
      if (this.#options.acknowledges !== false) this.send({ type: 'ack', epoch, revision });
    } catch (error) {
      this.failure ??= error;
    }
  }

  send(message: unknown): void {
    const { format = 'msgpack' } = this.#options;
    this.socket.send(format === 'json' ? JSON.stringify(message) : encode(message));
  }

  get definitions(): ReadonlyMap<string, string> {
    return this.#definitions.texts;
  }

  /** Frames with config or values. */
  get frames(): readonly ServerMessage[] {
    return this.messages.filter(({ type }) => type === 'put' || type === 'patch');
  }

  async untilAt(revision: number): Promise<void> {
    await until(`the client is at revision ${revision}`, () => {
      if (this.failure !== undefined) throw this.failure;
      return (this.at?.revision ?? 0) >= revision;
    });
  }

  async untilValue(flag: string, value: unknown): Promise<void> {
    await until(`${flag} is ${String(value)}`, () => this.values.get(flag) === value);
  }

  async untilClosed(): Promise<{ code: number; reason: string }> {
    await until('the stream is closed', () => this.closed !== undefined);
    if (this.failure !== undefined) throw this.failure;
    return this.closed ?? { code: 0, reason: '' };
  }

  close(): void {
    this.socket.terminate();
  }
}

/** Definitions of a server key's stream, held to the digest of their manifest. */
export class ClientConfig {
  /** Text by `kind/key`. */
  readonly texts = new Map<string, string>();
  readonly #tree = new DigestTree();
  #isKnown = false;

  /** `at`: where the client is. What a client that resumed had before is not known here: its digest is not checked. */
  apply(message: ConfigMessage, at: Position | undefined): void {
    const { previousRevision } = message;
    if (previousRevision !== 0 && previousRevision !== at?.revision) {
      throw new Error(`a patch from ${previousRevision} for a client at ${at?.revision}`);
    }
    this.take(message);
    if (this.#isKnown && this.digest !== parseManifest(message.signed.document).digest) {
      throw new Error('the digest is not that of the manifest');
    }
  }

  /** Unchecked. */
  take({ previousRevision, delta }: ConfigMessage): void {
    if (previousRevision === 0) this.#clear();
    for (const [kind, key] of delta?.removed ?? []) {
      this.#tree.delete(kind, key);
      this.texts.delete(`${kind}/${key}`);
    }
    for (const bytes of delta?.changed ?? []) {
      const definition = decodeDefinition(bytes);
      if (!definition.ok || definition.value.kind === 'segment-keys') throw new Error('a definition of another kind');
      const { kind, key } = definition.value;
      this.#tree.set(kind, key, hashDefinition(bytes));
      this.texts.set(`${kind}/${key}`, Buffer.from(bytes).toString());
    }
  }

  /** Of what is there: that of the manifest, if everything is. */
  get digest(): string {
    return this.#tree.digest();
  }

  #clear(): void {
    for (const name of this.texts.keys()) {
      const separator = name.indexOf('/');
      this.#tree.delete(name.slice(0, separator), name.slice(separator + 1));
    }
    this.texts.clear();
    this.#isKnown = true;
  }
}

export interface ServerEvent {
  readonly id: string;
  readonly message: ServerMessage;
}

/** A reader of server-sent events over real fetch. */
export class EventReader {
  readonly events: ServerEvent[] = [];
  readonly #abort = new AbortController();
  status = 0;
  headers = new Headers();
  /** Everything that arrived. */
  text = '';
  hasEnded = false;

  static async open(url: string, headers: Record<string, string>): Promise<EventReader> {
    const reader = new EventReader();
    const answer = await fetch(url, { headers, signal: reader.#abort.signal });
    reader.status = answer.status;
    reader.headers = answer.headers;
    void reader.#read(answer).catch(() => undefined);
    return reader;
  }

  async #read(answer: Response): Promise<void> {
    const decoder = new TextDecoder();
    let rest = '';
    try {
      for await (const chunk of answer.body ?? []) {
        const text = decoder.decode(chunk, { stream: true });
        this.text += text;
        const parts = (rest + text).split('\n\n');
        rest = parts.pop() ?? '';
        for (const part of parts) this.#take(part);
      }
    } finally {
      this.hasEnded = true;
    }
  }

  #take(part: string): void {
    const fields = part
      .split('\n')
      .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]);
    const field = (name: string) => fields.find(([candidate]) => candidate === name)?.[1];
    const data = field('data');
    if (data === undefined) return;
    this.events.push({ id: field('id') ?? '', message: decodeServerMessage('json', Buffer.from(data)) });
  }

  async until(what: string, isTrue: () => boolean): Promise<void> {
    await until(what, isTrue);
  }

  close(): void {
    this.#abort.abort();
  }
}

function contextOf({ context }: { readonly context?: unknown }): { context?: unknown } {
  return context === undefined ? {} : { context };
}
