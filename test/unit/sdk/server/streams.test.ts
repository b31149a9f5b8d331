import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { configTextOf } from '@guidon/protocol/live-updates';
import { NodeApi } from '@guidon/server-sdk/node-api.js';
import { openSocket } from '@guidon/server-sdk/streams.js';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { aFlag } from '../../../support/flag-sets.js';
import { SignedFeedServer } from '../../../support/signed-feed-server.js';

let server: WebSocketServer;
beforeEach(async () => {
  server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
});
afterEach(async () => {
  for (const client of server.clients) client.terminate();
  await new Promise((closed) => server.close(closed));
});

test('openSocket() acknowledges the frame that came, though a poll has gone further or wants everything meanwhile', async () => {
  const environment = new SignedFeedServer().addEnvironment('own');
  const config = await environment.publish([aFlag('a')]);
  const heard: unknown[] = [];
  const acknowledgedTwice = new Promise<void>((resolve) => {
    server.on('connection', (socket) => {
      const send = (revision: number): void =>
        socket.send(JSON.stringify({ type: 'patch', epoch: 1, revision, ...configTextOf(config) }));
      socket.on('message', (data: Buffer) => {
        heard.push(JSON.parse(data.toString('utf8')));
        if (heard.length <= 2) send(heard.length);
        else resolve();
      });
    });
  });
  // A poll activates 7 while the first frame is heard; with the second, it finds that it needs everything.
  let position: { epoch: number; revision: number } | undefined = { epoch: 1, revision: 0 };
  const positions = [{ epoch: 1, revision: 7 }, undefined];
  const user = {
    position: () => position,
    opened: () => undefined,
    hear: async () => {
      position = positions.shift();
      return true;
    },
  };
  const closing = new AbortController();
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const ended = openSocket(url, new NodeApi('gdn_srv_x', closing.signal), user, closing.signal);
  await acknowledgedTwice;
  expect(heard).toEqual([
    { type: 'hello', epoch: 1, revision: 0 },
    { type: 'ack', epoch: 1, revision: 1 },
    { type: 'ack', epoch: 1, revision: 2 },
  ]);
  closing.abort();
  await ended;
});
