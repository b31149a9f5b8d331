import { type ClientRequest, request } from 'node:http';
import type { ShownItem } from './feed-copy.js';

/** Follows server-sent events of a feed over one connection; `lastEventId` is what a browser would come back with. */
export class EventReader {
  status: number | undefined;
  body = '';
  lastEventId: string | undefined;
  isEnded = false;
  readonly #request: ClientRequest;
  #rest = '';

  constructor(url: string, token: string, options: { lastEventId?: string; onItem: (item: ShownItem) => void }) {
    this.lastEventId = options.lastEventId;
    const headers = {
      authorization: `Bearer ${token}`,
      ...(options.lastEventId === undefined ? {} : { 'last-event-id': options.lastEventId }),
    };
    const end = (): void => {
      this.isEnded = true;
    };
    this.#request = request(url, { headers, agent: false }, (response) => {
      this.status = response.statusCode;
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => this.#hear(chunk, options.onItem));
      response.on('close', end);
      response.on('error', end);
    });
    this.#request.on('error', end);
    this.#request.end();
  }

  close(): void {
    this.#request.destroy();
  }

  #hear(chunk: string, onItem: (item: ShownItem) => void): void {
    if (this.status !== 200) {
      this.body += chunk;
      return;
    }
    const events = (this.#rest + chunk).split('\n\n');
    this.#rest = events.pop() ?? '';
    for (const event of events) {
      const fields = new Map(
        event.split('\n').map((line) => [line.split(': ', 1)[0], line.slice(line.indexOf(': ') + 2)]),
      );
      this.lastEventId = fields.get('id') ?? this.lastEventId;
      const data = fields.get('data');
      if (data !== undefined) onItem(JSON.parse(data));
    }
  }
}
