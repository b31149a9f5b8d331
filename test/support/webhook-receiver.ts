import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One request as a receiver got it. */
export interface Received {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Epoch milliseconds. */
  readonly at: number;
}

export type Answering = (received: Received, response: ServerResponse) => void;

export const answerWith =
  (status: number, headers: Record<string, string> = {}, body = ''): Answering =>
  (_, response) => {
    response.writeHead(status, headers).end(body);
  };

/** A receiver of webhooks on loopback that keeps what it got and answers as it is told. */
export class WebhookReceiver {
  readonly received: Received[] = [];
  /** Connections that were accepted, whatever came over them. */
  connectionCount = 0;
  readonly #server: Server;
  answering: Answering;

  static async start(answering: Answering = answerWith(204)): Promise<WebhookReceiver> {
    const receiver = new WebhookReceiver(answering);
    await new Promise<void>((resolve) => receiver.#server.listen(0, '127.0.0.1', resolve));
    return receiver;
  }

  private constructor(answering: Answering) {
    this.answering = answering;
    this.#server = createServer((request, response) => void this.#take(request, response));
    this.#server.on('connection', () => {
      this.connectionCount += 1;
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/hook`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const at = Date.now();
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      return;
    }
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
    const { method = '', url = '' } = request;
    const received = { method, url, headers, body: Buffer.concat(chunks).toString('utf8'), at };
    this.received.push(received);
    this.answering(received, response);
  }
}
