import { connect, type Socket } from 'node:net';

/** `body` is borrowed: valid until the listener returns. */
export type AnswerListener = (status: number, body: Buffer) => void;

const HEAD_END = '\r\n\r\n';
const CONTENT_LENGTH = /\r\ncontent-length: (\d+)/i;

/**
 * One connection that sends requests ready made and takes the answers in their order. It knows only what the servers measured here send:
 * answers framed by Content-Length. A client that knows more would spend more than the server it asks.
 */
export class RawConnection {
  readonly #socket: Socket;
  readonly #waiting: AnswerListener[] = [];
  #first = 0;
  #chunks: Buffer[] = [];
  #receivedBytes = 0;
  /** Of an answer whose head is there and whose body is not. */
  #neededBytes = 0;
  #isOpen = true;
  readonly #onClose: (unanswered: number) => void;

  /** `onClose` is told how many requests have no answer. */
  static open(port: number, onClose: (unanswered: number) => void = () => undefined): Promise<RawConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true });
      socket.once('error', reject);
      socket.once('connect', () => resolve(new RawConnection(socket, onClose)));
    });
  }

  private constructor(socket: Socket, onClose: (unanswered: number) => void) {
    this.#socket = socket;
    this.#onClose = onClose;
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', () => undefined); // 'close' follows
    socket.once('close', () => {
      this.#isOpen = false;
      this.#onClose(this.unansweredCount);
    });
  }

  get unansweredCount(): number {
    return this.#waiting.length - this.#first;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  send(request: Uint8Array, onAnswer: AnswerListener): void {
    this.#waiting.push(onAnswer);
    this.#socket.write(request);
  }

  /** The status of the answer. Rejects when the connection ends without one. */
  async ask(request: Uint8Array): Promise<number> {
    if (!this.#isOpen) throw new Error('the connection has ended');
    return await new Promise<number>((resolve, reject) => {
      const fail = () => reject(new Error('the connection ended before the answer'));
      this.#socket.once('close', fail);
      this.send(request, (status) => {
        this.#socket.off('close', fail);
        resolve(status);
      });
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #receive(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#receivedBytes += chunk.length;
    // A long answer comes in many pieces, which are joined once.
    if (this.#receivedBytes < this.#neededBytes) return;
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    let offset = 0;
    this.#neededBytes = 0;
    for (;;) {
      const bodyAt = bytes.indexOf(HEAD_END, offset, 'latin1') + HEAD_END.length;
      if (bodyAt < HEAD_END.length) break;
      const head = bytes.toString('latin1', offset, bodyAt);
      const bodyEnd = bodyAt + Number(CONTENT_LENGTH.exec(head)?.[1] ?? 0);
      if (bodyEnd > bytes.length) {
        this.#neededBytes = bodyEnd - offset;
        break;
      }
      this.#next()?.(Number(head.slice(9, 12)), bytes.subarray(bodyAt, bodyEnd));
      offset = bodyEnd;
    }
    this.#chunks = offset === bytes.length ? [] : [bytes.subarray(offset)];
    this.#receivedBytes = bytes.length - offset;
  }

  #next(): AnswerListener | undefined {
    const listener = this.#waiting[this.#first];
    this.#first += 1;
    // Shifting each time would move the whole list.
    if (this.#first >= 1_024) this.#waiting.splice(0, this.#first);
    if (this.#first >= 1_024) this.#first = 0;
    return listener;
  }
}
