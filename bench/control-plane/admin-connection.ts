import { RawConnection } from '../support/raw-connection.js';

const JSON_TYPE = 'application/json';
export const MERGE_PATCH_TYPE = 'application/merge-patch+json';

/** One keep-alive connection to the admin API. It spends as little as a client can, so that the control plane is what is measured. */
export class AdminConnection {
  readonly #connection: RawConnection;
  readonly #token: string;

  static async open(port: number, token: string): Promise<AdminConnection> {
    return new AdminConnection(await RawConnection.open(port), token);
  }

  private constructor(connection: RawConnection, token: string) {
    this.#connection = connection;
    this.#token = token;
  }

  /** The parsed answer. Throws when it is no 2xx. */
  async post(path: string, body: object): Promise<Readonly<Record<string, unknown>>> {
    return JSON.parse((await this.send('POST', path, JSON_TYPE, JSON.stringify(body))).toString('utf8'));
  }

  /** The body of the answer, copied. Throws when it is no 2xx. */
  send(method: string, path: string, contentType: string, body: string, ifMatch?: string): Promise<Buffer> {
    const request = [
      `${method} /api/v1${path} HTTP/1.1`,
      'host: 127.0.0.1',
      `authorization: Bearer ${this.#token}`,
      `content-type: ${contentType}`,
      `content-length: ${Buffer.byteLength(body)}`,
      ...(ifMatch === undefined ? [] : [`if-match: ${ifMatch}`]),
      '',
      body,
    ].join('\r\n');
    return new Promise((resolve, reject) => {
      this.#connection.send(Buffer.from(request), (status, answer) => {
        if (status >= 200 && status < 300) resolve(Buffer.from(answer));
        else reject(new Error(`${method} ${path} answered ${status}: ${answer.toString('utf8')}`));
      });
    });
  }

  close(): void {
    this.#connection.close();
  }
}
