import { Agent, type RequestOptions, request } from 'node:https';
import { TLSSocket } from 'node:tls';

export interface HttpsAnswer {
  readonly status: number;
  /** Common name of the certificate that the connection was opened with. */
  readonly subject: string;
  readonly text: string;
}

/** One connection over TLS that is kept and used again, whatever certificate a server has by now. `close` ends it. */
export class HttpsConnection {
  readonly #agent: Agent;

  constructor(ca: string) {
    this.#agent = new Agent({ keepAlive: true, maxSockets: 1, maxCachedSessions: 0, ca });
  }

  /** Rejects when the connection cannot be opened or ends before the answer. */
  send(url: string, options: RequestOptions & { readonly body?: string } = {}): Promise<HttpsAnswer> {
    const { body, ...rest } = options;
    return new Promise((resolve, reject) => {
      const sent = request(url, { ...rest, agent: this.#agent, timeout: 10_000 }, (response) => {
        const { socket } = response;
        const subject = socket instanceof TLSSocket ? String(socket.getPeerCertificate().subject.CN) : '';
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('error', reject);
        response.on('end', () => resolve({ status: response.statusCode ?? 0, subject, text }));
      });
      sent.on('timeout', () => sent.destroy(new Error('no answer within 10 s')));
      sent.on('error', reject);
      sent.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** One request on a connection of its own. */
export async function sendHttps(
  url: string,
  ca: string,
  options: Parameters<HttpsConnection['send']>[1] = {},
): Promise<HttpsAnswer> {
  const connection = new HttpsConnection(ca);
  try {
    return await connection.send(url, options);
  } finally {
    connection.close();
  }
}
