import { once } from 'node:events';
import { copyFileSync } from 'node:fs';
import { STREAM_PROTOCOLS } from '@guidon/protocol/live-updates';
import type { TlsFiles } from '@guidon/protocol/tls-files';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { TestAuthority } from '../support/certificates.js';
import { aFlag } from '../support/flag-sets.js';
import { temporaryFolder } from '../support/guidon-process.js';
import { HttpsConnection, sendHttps } from '../support/https-client.js';
import {
  metricOf,
  type RunningNode,
  removeTemporaryDirectories,
  startNode,
  until,
  untilCurrent,
} from '../support/running-node.js';
import { type FeedEnvironment, SignedFeedServer } from '../support/signed-feed-server.js';

/** TLS of the evaluate API in one process, and certificates that change under it. */
const folder = temporaryFolder('tls');
const authority = new TestAuthority(folder.path);
let feed: SignedFeedServer;
let environment: FeedEnvironment;
let files: TlsFiles;
let node: RunningNode;
let evaluateUrl: string;
let options: { method: string; headers: { authorization: string; 'content-type': string }; body: string };
const connections: HttpsConnection[] = [];
const sockets: WebSocket[] = [];

function connect(): HttpsConnection {
  const connection = new HttpsConnection(authority.ca);
  connections.push(connection);
  return connection;
}

/** A stream of live updates; closed with the test. */
async function openStream(): Promise<WebSocket> {
  const url = `${node.server.url.replace('https:', 'wss:')}/v1/stream`;
  const { authorization } = options.headers;
  const socket = new WebSocket(url, STREAM_PROTOCOLS.json, { ca: authority.ca, headers: { authorization } });
  sockets.push(socket);
  socket.on('error', () => undefined);
  await once(socket, 'open');
  return socket;
}

beforeAll(async () => {
  feed = await new SignedFeedServer().start();
  environment = feed.addEnvironment('main');
  await environment.publish([aFlag('flag')]);
  const key = await environment.issueCredential('srv');
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  options = { method: 'POST', headers, body: '{"flags":"flag","context":{}}' };
});
beforeEach(async () => {
  files = authority.issue('node', 'first');
  node = await startNode(feed, { tls: files });
  evaluateUrl = `${node.server.url}/v1/evaluate`;
  await untilCurrent(node, environment);
  await until('accepted', async () => (await sendHttps(evaluateUrl, authority.ca, options)).status === 200);
});
afterEach(async () => {
  for (const connection of connections.splice(0)) connection.close();
  for (const socket of sockets.splice(0)) socket.terminate();
  await node.stop();
});
afterAll(async () => {
  await feed.stop();
  await removeTemporaryDirectories();
  folder.remove();
});

describe('the evaluate API with TLS', () => {
  it('answers over HTTPS alone', async () => {
    expect(node.server.url).toMatch(/^https:/);
    const { status, subject, text } = await sendHttps(evaluateUrl, authority.ca, options);
    expect({ status, subject, ...JSON.parse(text) }).toMatchObject({ status: 200, subject: 'first', value: 'no' });
    await expect(fetch(evaluateUrl.replace('https:', 'http:'))).rejects.toThrow();
  });

  it('reloadCertificate(): new connections get the new certificate, those that are open go on', async () => {
    const kept = connect();
    expect(await kept.send(evaluateUrl, options)).toMatchObject({ status: 200, subject: 'first' });
    authority.issue('node', 'second');
    await node.server.reloadCertificate();
    expect(await connect().send(evaluateUrl, options)).toMatchObject({ status: 200, subject: 'second' });
    expect(await kept.send(evaluateUrl, options)).toMatchObject({ status: 200, subject: 'first' });
    expect(await metricOf(node, 'guidon_connections')).toBe(2);
  });

  it('reloadCertificate() refuses files that do not fit, and the certificate in use stays', async () => {
    copyFileSync(authority.issue('other', 'other').keyFile, files.keyFile);
    await expect(node.server.reloadCertificate()).rejects.toThrow(/--tls-key: .* does not fit/);
    expect(await connect().send(evaluateUrl, options)).toMatchObject({ status: 200, subject: 'first' });
  });

  it('connections of the ninth certificate before are ended; eight go on', async () => {
    const kept = [];
    for (let index = 0; index < 9; index += 1) {
      const connection = connect();
      kept.push(connection);
      expect(await connection.send(evaluateUrl, options)).toMatchObject({ status: 200 });
      authority.issue('node', `certificate ${index}`);
      await node.server.reloadCertificate();
    }
    await kept[0]?.send(evaluateUrl, options).catch(() => undefined);
    const answers = await Promise.all(kept.map((connection) => connection.send(evaluateUrl, options)));
    // The first was ended: it has been opened again, with what is served now.
    expect(answers.map(({ subject }) => subject)).toEqual([
      'certificate 8',
      ...Array.from({ length: 8 }, (_, index) => `certificate ${index}`),
    ]);
  });

  it('a stream that has ended is no connection of its certificate any more', async () => {
    const kept = connect();
    expect(await kept.send(evaluateUrl, options)).toMatchObject({ subject: 'first' });
    for (let index = 0; index < 9; index += 1) {
      const stream = await openStream();
      // Half of them end after their certificate.
      if (index % 2 === 0) stream.close();
      authority.issue('node', `certificate ${index}`);
      await node.server.reloadCertificate();
      stream.close();
      await until('gone', async () => (await metricOf(node, 'guidon_stream_connections{transport="websocket"}')) === 0);
    }
    expect(await kept.send(evaluateUrl, options)).toMatchObject({ status: 200, subject: 'first' });
  });

  it('a stream is a connection of its certificate as long as it is open: the ninth before is ended', async () => {
    const streams: WebSocket[] = [];
    for (let index = 0; index < 9; index += 1) {
      streams.push(await openStream());
      authority.issue('node', `certificate ${index}`);
      await node.server.reloadCertificate();
    }
    await until('the first is ended', () => streams[0]?.readyState === WebSocket.CLOSED);
    expect(streams.slice(1).map(({ readyState }) => readyState)).toEqual(Array(8).fill(WebSocket.OPEN));
    expect(await metricOf(node, 'guidon_stream_connections{transport="websocket"}')).toBe(8);
  });

  it('a port that somebody listens on is refused, although ports are shared over a reload', async () => {
    await expect(startNode(feed, { tls: files, port: node.server.port })).rejects.toMatchObject({ code: 'conflict' });
  });
});
