import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { EventSender } from '@guidon/browser-sdk/event-sender.js';
import { NodeApi } from '@guidon/browser-sdk/node-api.js';
import { parseEventBatch } from '@guidon/protocol/events';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';

/** What browsers take of requests that may outlive their page, all together. */
const KEEPALIVE_BYTES_MAX = 64 * 1024;
const bodies: string[] = [];
const node = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    if (request.url === '/v1/events') bodies.push(Buffer.concat(chunks).toString());
    response.setHeader('content-type', 'application/json');
    response.writeHead(202).end('{"accepted": 1, "refused": [], "token": "t"}');
  });
});
let url: string;
beforeEach(async () => {
  bodies.length = 0;
  await new Promise<void>((resolve) => node.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(node.address() as AddressInfo).port}`;
});
afterEach(() => {
  vi.useRealTimers();
  node.closeAllConnections();
  node.close();
});

it('sends batches that a browser takes, and nothing holds up what is behind it', async () => {
  const warnings: string[] = [];
  const sender = new EventSender(new NodeApi(url, 'k'), (message) => warnings.push(message));
  const add = (index: number, data: unknown): void =>
    sender.add({
      id: `event-of-the-page-${index}`,
      kind: 'metric',
      at: 1,
      key: 'bought',
      context: { targetingKey: 'u' },
      data: data as string,
    });
  add(1000, { price: 10n });
  for (let index = 0; index < 100; index += 1) add(index, 'ä'.repeat(1_500));
  await sender.flush();
  sender.stop();

  expect(warnings).toHaveLength(1);
  for (const body of bodies) expect(Buffer.byteLength(body)).toBeLessThanOrEqual(KEEPALIVE_BYTES_MAX);
  const sent = bodies.flatMap((body) => parseEventBatch(JSON.parse(body)).events);
  expect(sent.map(({ id }) => id)).toEqual(Array.from({ length: 100 }, (_, index) => `event-of-the-page-${index}`));
});

it('holds a token no longer than a node takes it: what a beacon shows cannot be asked for again', async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  const api = new NodeApi(url, 'k');
  expect(api.heldToken('events')).toBeUndefined();
  expect(await api.token('events')).toBe('t');
  vi.setSystemTime(Date.now() + 49 * 60_000);
  expect(api.heldToken('events')).toBe('t');
  vi.setSystemTime(Date.now() + 2 * 60_000);
  expect(api.heldToken('events')).toBeUndefined();
});
