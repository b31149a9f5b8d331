import { createServer, type Server, type ServerResponse } from 'node:http';
import { encodeConfigMessage } from '@guidon/protocol/msgpack';
import { HttpConfigSource } from '@guidon/server/snapshot-feed/http-config-source.js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aFlag } from '../../../support/flag-sets.js';
import { SignedFeedServer } from '../../../support/signed-feed-server.js';

/** A source that goes silent: what became of the connection is not known, and nothing may wait for it for long (I14). */
const environment = new SignedFeedServer().addEnvironment('main');
let server: Server;
let port = 0;
const sources: HttpConfigSource[] = [];
let answer: (response: ServerResponse) => void;
let requestCount = 0;

beforeEach(async () => {
  await environment.publish([aFlag('flag')]);
  requestCount = 0;
  server = createServer((_, response) => {
    requestCount += 1;
    answer(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  port = typeof address === 'object' && address !== null ? address.port : 0;
});
afterEach(async () => {
  for (const source of sources.splice(0)) source.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

/** A test that had to wait for `configDeadlineMs` would not end in time. */
function aSource(deadlineMs: number): HttpConfigSource {
  const options = { url: `http://127.0.0.1:${port}`, nodeCredential: 'node', deadlineMs, configDeadlineMs: 600_000 };
  const source = new HttpConfigSource(options);
  sources.push(source);
  return source;
}

const whole = () => encodeConfigMessage(environment.message(0));

describe('fetchConfig()', () => {
  it('gives up an answer that never begins, and one that stops', async () => {
    const source = aSource(40);
    answer = () => undefined;
    await expect(source.fetchConfig(environment.ref, 0)).rejects.toMatchObject({ code: 'not-ready' });
    answer = (response) => {
      response.writeHead(200);
      response.write(whole().subarray(0, 10));
    };
    await expect(source.fetchConfig(environment.ref, 0)).rejects.toMatchObject({ code: 'not-ready' });
    // On a slow machine a request that was given up may not have come.
    expect(requestCount).toBeLessThanOrEqual(2);
  });

  it('waits longer each time for one that is slow to begin, until it has it', async () => {
    const source = aSource(40);
    answer = (response) => setTimeout(() => response.end(whole()), 500);
    let failureCount = 0;
    for (;;) {
      const message = await source.fetchConfig(environment.ref, 0).catch(() => undefined);
      if (message !== undefined) break;
      failureCount += 1;
      expect(failureCount).toBeLessThan(20);
    }
    expect(failureCount).toBeGreaterThan(0);
  });

  it('takes an answer that takes long but is never silent', async () => {
    const source = aSource(1_000);
    answer = (response) => {
      const bytes = whole();
      let sent = 0;
      const timer = setInterval(() => {
        response.write(bytes.subarray(sent, sent + 20));
        sent += 20;
        if (sent < bytes.length) return;
        clearInterval(timer);
        response.end();
      }, 50);
    };
    const message = await source.fetchConfig(environment.ref, 0);
    expect(message.delta?.changed).toHaveLength(1);
  });
});
