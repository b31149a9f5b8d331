import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { httpRequest } from '../support/http-request.js';
import type { HttpCase } from './http-cases.js';

const INTERVAL_MS = 200;
const DEADLINE_MS = 30_000;

/**
 * Sends, while the load runs, what two HTTP parsers could read as different numbers of requests: a request whose body is another one (M13).
 * Each must end its connection, and nothing smuggled may be answered.
 */
export class SmugglingProbe {
  refusedCount = 0;
  readonly #port: number;
  readonly #attempts: readonly Buffer[];
  #timer: NodeJS.Timeout | undefined;
  #failure: unknown;
  readonly #running = new Set<Promise<void>>();
  #sentCount = 0;

  constructor(port: number, httpCase: HttpCase, token: string) {
    this.#port = port;
    const body = httpCase.questions[0]?.body ?? Buffer.alloc(0);
    const honest = httpRequest(body, { path: httpCase.path, format: httpCase.format, token });
    const head = honest.subarray(0, honest.length - body.length).toString('latin1');
    this.#attempts = [
      `content-length: 0\r\ncontent-length: ${honest.length}\r\n`,
      `content-length: ${honest.length}\r\ncontent-length: ${honest.length}\r\n`,
      'transfer-encoding: chunked\r\n',
      `content-length: ${honest.length}\r\ntransfer-encoding: chunked\r\n`,
      `content-length: ${honest.length}\r\ntransfer-encoding: xchunked\r\n`,
      `content-length: ${honest.length}\r\nauthorization: Bearer nobody\r\n`,
    ].map((framing) => {
      const changed = head.replace(/content-length: \d+\r\n/, framing);
      return Buffer.concat([Buffer.from(changed, 'latin1'), honest]);
    });
  }

  start(): void {
    this.#timer = setInterval(() => this.#send(), INTERVAL_MS);
    this.#send();
  }

  /** Throws when an attempt was not refused. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#running);
    if (this.#failure !== undefined) throw this.#failure;
  }

  #send(): void {
    const attempt = this.#attempts[this.#sentCount % this.#attempts.length] ?? Buffer.alloc(0);
    this.#sentCount += 1;
    const running = this.#try(attempt)
      .catch((error: unknown) => {
        this.#failure ??= error;
      })
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #try(attempt: Buffer): Promise<void> {
    const socket = connect({ port: this.#port, host: '127.0.0.1', noDelay: true });
    socket.setTimeout(DEADLINE_MS, () => socket.destroy(new Error(`stays open: ${attempt.toString('latin1')}`)));
    let answer = '';
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString('latin1');
    });
    socket.write(attempt);
    await once(socket, 'close');
    assert.ok(!answer.includes('HTTP/1.1 200'), `answered: ${attempt.toString('latin1')}`);
    this.refusedCount += 1;
  }
}
