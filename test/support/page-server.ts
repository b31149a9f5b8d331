import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { bundle } from './bundle.js';

interface Content {
  readonly type: string;
  readonly body: string;
}

/** An origin of its own on loopback that serves pages to a browser. What is not there is 404. */
export class PageServer {
  readonly #server: Server;
  readonly #contents = new Map<string, Content>();
  /** Scheme, address and port: also the origin that its pages have. */
  readonly origin: string;

  static async start(): Promise<PageServer> {
    const contents = new Map<string, Content>();
    const server = createServer((request, response) => {
      const content = contents.get(new URL(request.url ?? '/', 'http://page').pathname);
      if (content === undefined) response.writeHead(404).end();
      else response.writeHead(200, { 'content-type': content.type, 'cache-control': 'no-store' }).end(content.body);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new PageServer(server, contents);
  }

  private constructor(server: Server, contents: Map<string, Content>) {
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('the server has a port');
    this.#server = server;
    this.#contents = contents;
    this.origin = `http://127.0.0.1:${address.port}`;
    // Browsers ask for it by themselves, and a missing one is an error on the console.
    this.add('/favicon.ico', 'image/x-icon', '');
  }

  add(path: string, type: string, body: string): void {
    this.#contents.set(path, { type, body });
  }

  /** A page at `path` that runs the module `file`, TypeScript under test/, or `source` in its place. Returns its URL. */
  async addApp(
    path: string,
    file: string,
    options: { readonly source?: string; readonly body?: string } = {},
  ): Promise<string> {
    const { source, body = '<div id="root"></div>' } = options;
    const script = `${path === '/' ? '/index' : path}.js`;
    this.add(script, 'text/javascript', await bundle(file, source === undefined ? {} : { source }));
    const html = `<!doctype html><meta charset="utf-8"><title>test</title>${body}<script type="module" src="${script}"></script>`;
    this.add(path, 'text/html', html);
    return this.origin + path;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}
