import { type Position, type ServerMessage, STREAM_PROTOCOLS } from '@guidon/protocol/live-updates';
import { WebSocket } from 'ws';
import { readEvents } from './event-stream-reader.js';
import { type NodeApi, NodeFailure } from './node-api.js';
import { decodeFrame } from './shared-frames.js';

/** What a stream needs of whom it is for. */
export interface StreamUser {
  /** Where it is: what the stream resumes from. Undefined: everything is needed. */
  readonly position: () => Position | undefined;
  /** The node has taken the connection. It says nothing as long as nothing changes, but a heartbeat each 15 s. */
  readonly opened: () => void;
  /** Takes a message. False: it does not fit what is here, and the stream has to begin anew. */
  readonly hear: (message: ServerMessage) => Promise<boolean>;
}

/** Why a stream has ended. */
export interface StreamEnd {
  /** A node had taken the connection. */
  readonly wasOpen: boolean;
  /** As the node's `bye` asked; 0: it said nothing. */
  readonly reconnectAfterMs: number;
  readonly isCredentialRefused: boolean;
}

/** Opens one stream and resolves when it has ended. Never rejects. */
export type OpenStream = (url: string, api: NodeApi, user: StreamUser, signal: AbortSignal) => Promise<StreamEnd>;

/** Nodes send a heartbeat every 15 s: silence for longer than two of them is a dead connection. */
const SILENCE_MS = 40_000;
const HANDSHAKE_MS = 10_000;
/** A frame is acknowledged so late, that other clients of this process, which have been sent the same change, have it in force first. */
const ACKNOWLEDGE_MS = 10;
const MESSAGE_BYTES_MAX = 128 * 1024 * 1024;
const CREDENTIAL_CODE = 4401;
/** A node sends one frame at a time; whoever sends more than this without waiting is no node. */
const WAITING_COUNT_MAX = 16;

/** `GET /v1/stream`, in JSON. */
export const openSocket: OpenStream = (url, api, user, signal) =>
  new Promise((resolve) => {
    const heard = new Heard(user);
    const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/v1/stream`, [STREAM_PROTOCOLS.json], {
      headers: api.headers,
      handshakeTimeout: HANDSHAKE_MS,
      maxPayload: MESSAGE_BYTES_MAX,
      perMessageDeflate: false,
      followRedirects: false,
    });
    const end = (): void => socket.terminate();
    // Of the frame, not of what is in force: a poll may have gone further, and a node takes no acknowledgement of what it has not sent over this stream.
    const acknowledge = (frame: Position): void => {
      if (socket.readyState !== WebSocket.OPEN) return;
      // As bytes it is one buffer with the header in front of it, which ws writes without gathering.
      socket.send(Buffer.from(JSON.stringify({ type: 'ack', ...pointOf(frame) })), { binary: false });
    };
    const silence = setTimeout(end, SILENCE_MS);
    signal.addEventListener('abort', end, { once: true });
    let isCredentialRefused = false;
    let last: Promise<void> = Promise.resolve();
    let waitingCount = 0;
    socket.on('open', () => {
      heard.opened();
      socket.send(JSON.stringify({ type: 'hello', ...pointOf(user.position()) }));
    });
    socket.on('message', (data: Buffer, isBinary) => {
      silence.refresh();
      waitingCount += 1;
      if (isBinary || waitingCount > WAITING_COUNT_MAX) return end();
      last = last.then(async () => {
        const isGood = await heard.take(data);
        waitingCount -= 1;
        const { frame } = heard;
        if (!isGood) end();
        else if (frame !== undefined) setTimeout(acknowledge, ACKNOWLEDGE_MS, frame);
      });
    });
    socket.on('unexpected-response', (_, response) => {
      isCredentialRefused = response.statusCode === 401 || response.statusCode === 403;
      response.destroy();
      end();
    });
    socket.on('error', () => undefined);
    socket.on('close', (code) => {
      clearTimeout(silence);
      signal.removeEventListener('abort', end);
      isCredentialRefused ||= code === CREDENTIAL_CODE;
      void last.then(() => resolve({ ...heard.end, isCredentialRefused }));
    });
    if (signal.aborted) end();
  });

/** `GET /v1/stream/sse`. */
export const openEvents: OpenStream = async (url, api, user, signal) => {
  const heard = new Heard(user);
  const silent = new AbortController();
  const silence = setTimeout(() => silent.abort(), SILENCE_MS);
  let isCredentialRefused = false;
  try {
    const body = await api.events(url, user.position(), AbortSignal.any([signal, silent.signal]));
    heard.opened();
    for await (const { data } of readEvents(body)) {
      silence.refresh();
      if (!(await heard.take(Buffer.from(data)))) break;
    }
  } catch (error) {
    isCredentialRefused = error instanceof NodeFailure && error.isCredentialRefused;
  } finally {
    clearTimeout(silence);
    silent.abort();
  }
  return { ...heard.end, isCredentialRefused };
};

/** What came over one stream. */
class Heard {
  readonly #user: StreamUser;
  #wasOpen = false;
  #reconnectAfterMs = 0;
  /** The last message, when it was config, which is acknowledged. */
  frame: Position | undefined;

  constructor(user: StreamUser) {
    this.#user = user;
  }

  get end(): Omit<StreamEnd, 'isCredentialRefused'> {
    return { wasOpen: this.#wasOpen, reconnectAfterMs: this.#reconnectAfterMs };
  }

  opened(): void {
    this.#wasOpen = true;
    this.#user.opened();
  }

  /** False: the stream must end. */
  async take(bytes: Buffer): Promise<boolean> {
    try {
      const message = decodeFrame(bytes);
      this.frame = undefined;
      if (message.type === 'bye') {
        this.#reconnectAfterMs = message.reconnectAfterMs;
        return true;
      }
      if (message.type === 'put' || message.type === 'patch') this.frame = message;
      return await this.#user.hear(message);
    } catch {
      return false;
    }
  }
}

function pointOf(position: Position | undefined): Position | undefined {
  return position && { epoch: position.epoch, revision: position.revision };
}
