import { type Position, positionText, type StreamClose } from '@guidon/protocol/live-updates';
import { encodeBye, encodeHeartbeat } from '@guidon/protocol/msgpack';
import type { HeaderPair } from '../reply.js';
import type { ResponseStream } from '../response-stream.js';
import type { StreamTransport } from './stream.js';

export const EVENTS_HEADERS: readonly HeaderPair[] = [
  ['Content-Type', 'text/event-stream'],
  ['Cache-Control', 'no-cache, no-transform'],
  ['X-Accel-Buffering', 'no'],
];
/** When to come back, until a `bye` says otherwise. */
export const FIRST_RETRY = 'retry: 2000\n\n';

/** Frames as server-sent events. Clients of OFREP know none of our messages, so a `refetch` stream beats and ends without one. */
export class EventsTransport implements StreamTransport {
  readonly kind: 'sse' | 'refetch';
  readonly format = 'json';
  readonly #body: ResponseStream;

  constructor(kind: 'sse' | 'refetch', body: ResponseStream) {
    this.kind = kind;
    this.#body = body;
  }

  get bufferedBytes(): number {
    return this.#body.isBlocked ? 1 : 0;
  }

  /** True when the socket took it: then it counts as applied. */
  send(frame: Uint8Array, at: Position): boolean {
    this.#body.write(`id: ${positionText(at)}\ndata: `);
    this.#body.write(frame);
    return this.#body.write('\n\n') && !this.#body.isBlocked;
  }

  beat(at: Position): void {
    if (this.kind === 'sse') this.send(encodeHeartbeat('json', at), at);
    else this.#body.write(':\n\n');
  }

  end({ reason }: StreamClose, reconnectAfterMs: number): void {
    if (this.#body.isBlocked) {
      this.#body.drop();
      return;
    }
    this.#body.write(`retry: ${reconnectAfterMs}\n`);
    if (this.kind === 'sse') {
      this.#body.write('data: ');
      this.#body.write(encodeBye('json', reason, reconnectAfterMs));
      this.#body.write('\n');
    }
    this.#body.write('\n');
    this.#body.end();
  }
}
