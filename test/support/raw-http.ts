import { connect, type Socket } from 'node:net';

export interface RawAnswer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

/** One TCP connection that sends exactly the bytes a test gives it and reads answers framed by Content-Length. */
export class RawConnection {
  readonly socket: Socket;
  isClosed = false;
  #received = Buffer.alloc(0);
  #wake: () => void = () => undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.isClosed = true;
      this.#wake();
    });
  }

  static open(port: number): Promise<RawConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true });
      socket.once('error', reject);
      socket.once('connect', () => resolve(new RawConnection(socket)));
    });
  }

  send(bytes: string | Uint8Array): void {
    this.socket.write(bytes);
  }

  /** The next answer; undefined when the connection ends, or nothing comes in time, first. */
  async read(timeoutMs = 10_000): Promise<RawAnswer | undefined> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const answer = this.#take();
      if (answer !== undefined) return answer;
      const leftMs = deadline - performance.now();
      if (this.isClosed || leftMs <= 0) return undefined;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** True once the server has ended the connection. */
  async closes(timeoutMs = 10_000): Promise<boolean> {
    const deadline = performance.now() + timeoutMs;
    while (!this.isClosed && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 5));
    return this.isClosed;
  }

  end(): void {
    this.socket.destroy();
  }

  /** Ends with RST instead of FIN. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  #take(): RawAnswer | undefined {
    const headEnd = this.#received.indexOf('\r\n\r\n');
    if (headEnd < 0) return undefined;
    const [statusLine = '', ...lines] = this.#received.subarray(0, headEnd).toString('latin1').split('\r\n');
    const headers = new Map(
      lines.map((line) => {
        const colon = line.indexOf(':');
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
      }),
    );
    const status = Number(statusLine.split(' ')[1]);
    const bodyBytes = Number(headers.get('content-length') ?? 0);
    const end = headEnd + 4 + bodyBytes;
    if (this.#received.length < end) return undefined;
    const body = Buffer.from(this.#received.subarray(headEnd + 4, end));
    this.#received = this.#received.subarray(end);
    return { status, headers, body };
  }
}

/** A POST as bytes. Headers with several values are sent several times, in order. */
export function postBytes(
  path: string,
  headers: readonly (readonly [string, string])[],
  body: string | Uint8Array = '',
): Buffer {
  const head = [`POST ${path} HTTP/1.1`, ...headers.map(([name, value]) => `${name}: ${value}`), '', ''].join('\r\n');
  return Buffer.concat([Buffer.from(head, 'latin1'), Buffer.from(body)]);
}
