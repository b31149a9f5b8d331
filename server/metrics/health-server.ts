import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { PlatformError } from '@guidon/protocol';
import { METRICS_CONTENT_TYPE } from '@guidon/protocol/metrics';
import type pino from 'pino';

export interface HealthParts {
  readonly host: string;
  readonly port: number;
  readonly metrics: { render(): Promise<string> };
  readonly logger: pino.Logger;
  /** False: nothing here can answer any more, restarting helps. */
  readonly isLive: () => boolean;
  readonly isReady: () => boolean;
  /** Lines for `/readyz?verbose`. */
  readonly details: () => readonly string[] | Promise<readonly string[]>;
}

/** Health and metrics on their own port, loopback by default: no credential, and no way to slow down the data plane's port. */
export class HealthServer {
  readonly #server: Server;
  #isDraining = false;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Rejects with `conflict` when the port is taken. */
  static async listen(parts: HealthParts): Promise<HealthServer> {
    const server = createServer({ requestTimeout: 10_000, headersTimeout: 10_000 });
    const health = new HealthServer(server);
    server.on('request', (request, response) => void health.#answer(parts, request, response));
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause) => {
        reject(new PlatformError('conflict', `the metrics port ${parts.port} cannot be listened on`, { cause }));
      });
      server.listen(parts.port, parts.host, resolve);
    });
    return health;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  /** `/readyz` says 503 from now on, so that balancers look elsewhere before connections end. */
  startDraining(): void {
    this.#isDraining = true;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(parts: HealthParts, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path, query] = (request.url ?? '').split('?');
    response.setHeader('Cache-Control', 'no-store');
    if (path === '/livez') return parts.isLive() ? send(response, 200, 'ok\n') : send(response, 503, 'not live\n');
    if (path === '/readyz') {
      const isReady = !this.#isDraining && parts.isReady();
      const lines = [isReady ? 'ready' : 'not ready', ...(query === 'verbose' ? await parts.details() : [])];
      return send(response, isReady ? 200 : 503, `${lines.join('\n')}\n`);
    }
    if (path !== '/metrics') return send(response, 404, 'not found\n');
    try {
      const page = await parts.metrics.render();
      send(response, 200, page, METRICS_CONTENT_TYPE);
    } catch (error) {
      parts.logger.error({ err: error }, 'the metrics could not be rendered');
      send(response, 500, 'the metrics failed\n');
    }
  }
}

function send(response: ServerResponse, status: number, body: string, contentType = 'text/plain; charset=utf-8'): void {
  response.writeHead(status, { 'Content-Type': contentType });
  response.end(body);
}
