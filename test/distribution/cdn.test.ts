import { readdirSync, readFileSync } from 'node:fs';
import { Agent, get, type IncomingHttpHeaders } from 'node:http';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { findCredential } from '@guidon/protocol/signed-config';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../support/guidon-process.js';
import { HttpCache } from '../support/http-cache.js';
import { freeLowPort } from '../support/nginx.js';
import { StreamedPlatform, type StreamedTenant } from '../support/streamed-platform.js';

/**
 * Config behind real shared caches with their ordinary keys: few polls reach the node, changes are seen within max-age, a dead node is answered for, and nothing
 * of one tenant goes to another (ecosystem 1.6, threat model 2.2, I16).
 */
const POLLS = 10_000;
const MAX_AGE_MS = 5_000;
/** For the machine, not for the cache. */
const SLACK_MS = 4_000;
/** Past stale-while-revalidate, in the long campaign; past max-age otherwise. */
const DEAD_MS = process.env.GUIDON_DEEP === undefined ? MAX_AGE_MS + 1_000 : 40_000;

const folder = temporaryFolder('cdn');
const agent = new Agent({ keepAlive: true, maxSockets: 16 });
let platform: StreamedPlatform;
let a: StreamedTenant;
let b: StreamedTenant;
const caches: { name: string; cache: HttpCache }[] = [];

beforeAll(async () => {
  // Its port must still be free when it comes back.
  platform = await StreamedPlatform.start({ port: await freeLowPort() });
  // Equal names of everything but the tenants and their values.
  a = await platform.addTenant('canary-a');
  b = await platform.addTenant('canary-b');
  const { port } = platform.server;
  caches.push({ name: 'nginx', cache: await HttpCache.nginx(join(folder.path, 'nginx'), port) });
  caches.push({ name: 'varnish', cache: await HttpCache.varnish(join(folder.path, 'varnish'), port) });
});
afterAll(async () => {
  agent.destroy();
  for (const { cache } of caches) await cache.stop();
  await platform.close();
  folder.remove();
});

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}
type Header = 'authorization' | 'x-api-key';
const HEADERS: readonly Header[] = ['authorization', 'x-api-key'];

function ask(url: string, key: string, header: Header, more: Record<string, string> = {}): Promise<Answer> {
  const headers = {
    [header]: header === 'authorization' ? `Bearer ${key}` : key,
    accept: 'application/msgpack',
    'accept-encoding': 'identity',
    ...more,
  };
  return new Promise((resolve, reject) => {
    get(url, { agent, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const bytes = Buffer.concat(chunks);
        const body = response.headers['content-encoding'] === 'gzip' ? gunzipSync(bytes) : bytes;
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body });
      });
    }).on('error', reject);
  });
}

const cacheOf = (name: string): HttpCache => {
  const found = caches.find((candidate) => candidate.name === name);
  if (found === undefined) throw new Error(`no ${name}`);
  return found.cache;
};
const pathOf = async ({ srv }: StreamedTenant): Promise<string> =>
  (await platform.get('/v1/config', srv)).headers.get('location') ?? '';
const revisionIn = ({ headers }: Answer): number => Number(headers['x-guidon-revision']);

/** Answers that the node has given under the cached paths, whatever they were. */
async function originAnswers(): Promise<number> {
  const page = await (await fetch(`${platform.server.metricsUrl}/metrics`)).text();
  const lines = page.split('\n').filter((line) => /^guidon_http_requests_total\{.*cacheToken/.test(line));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}

/** Milliseconds until `isSo` is true of an answer; asked all the time. */
async function millisecondsUntil(isSo: () => Promise<boolean>, maxMs: number): Promise<number> {
  const startedMs = performance.now();
  while (!(await isSo())) {
    if (performance.now() - startedMs > maxMs) return Number.POSITIVE_INFINITY;
    await new Promise((wake) => setTimeout(wake, 50));
  }
  return performance.now() - startedMs;
}

async function issueKey(tenant: StreamedTenant): Promise<string> {
  const body = { kind: 'srv', name: 'more' };
  const { token } = (await platform.plane.must('POST', `${tenant.environment}/credentials`, { body })).body;
  await platform.untilServed({ ...tenant, srv: token });
  return token;
}

describe.each(['nginx', 'varnish'])('%s', (name) => {
  it(`answers ${POLLS} interleaved polls of two tenants, of which the node sees one in a hundred, and mixes nothing`, async () => {
    const { url } = cacheOf(name);
    const paths = [await pathOf(a), await pathOf(b)];
    const before = await originAnswers();
    const foreign: string[] = [];
    let count = 0;
    const poll = async (): Promise<void> => {
      while (count < POLLS) {
        const number = count;
        count += 1;
        const [own, other] = number % 2 === 0 ? [a, b] : [b, a];
        const header = HEADERS[(number >> 1) % 2] ?? 'authorization';
        // One in fifty asks for the path first: that answer is for nobody else.
        const isFirst = number % 50 < 2;
        const path = isFirst ? '/v1/config' : paths[number % 2];
        const encoding = number % 10 < 2 ? 'gzip' : 'identity';
        const answer = await ask(`${url}${path}`, own.srv, header, { 'accept-encoding': encoding });
        const [canary, foreignCanary] = own === a ? ['canary-a', 'canary-b'] : ['canary-b', 'canary-a'];
        const isRight = isFirst
          ? answer.status === 307 && answer.headers.location === paths[number % 2]
          : answer.status === 200 &&
            answer.body.includes(canary) &&
            answer.headers['surrogate-key'] === `env-${own.environmentId}`;
        if (!isRight || answer.body.includes(foreignCanary) || answer.body.includes(other.environmentId)) {
          foreign.push(`${number} ${path} ${header}: ${answer.status} ${answer.body.toString().slice(0, 200)}`);
        }
      }
    };
    await Promise.all(Array.from({ length: 16 }, poll));
    expect(foreign.slice(0, 3)).toEqual([]);
    expect((await originAnswers()) - before).toBeLessThanOrEqual(POLLS / 100);
  });

  it('keeps one answer for all keys of an environment, and no key', async () => {
    const { url, folder: kept } = cacheOf(name);
    const path = await pathOf(a);
    const another = await issueKey(a);
    expect(await pathOf({ ...a, srv: another })).toBe(path);
    await ask(url + path, a.srv, 'x-api-key');
    const before = await originAnswers();
    for (const header of HEADERS) expect((await ask(url + path, another, header)).status).toBe(200);
    expect((await originAnswers()) - before).toBe(0);
    const files = readdirSync(kept, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    const texts = files.map((entry) => readFileSync(join(entry.parentPath, entry.name)));
    if (name === 'nginx') expect(texts.some((text) => text.includes('canary-a'))).toBe(true);
    for (const key of [a.srv, b.srv, another]) {
      const secret = findCredential(key)?.secret ?? key;
      expect(texts.filter((text) => text.includes(secret)).length).toBe(0);
    }
  });

  it('keeps nothing that was refused, and refuses nothing that it keeps for others', async () => {
    const { url } = cacheOf(name);
    const path = await pathOf(b);
    // Not asked for yet in this form: the cache has to ask the node, which looks at the key.
    const form = { accept: 'application/json' };
    const statuses = [
      (await ask(url + path, a.srv, 'x-api-key', form)).status,
      (await ask(url + path, b.web, 'authorization', form)).status,
    ];
    expect(statuses).toEqual([404, 403]);
    await new Promise((wake) => setTimeout(wake, 1_100));
    expect((await ask(url + path, b.srv, 'authorization', form)).status).toBe(200);
  });

  it('shows a change within max-age', async () => {
    const { url } = cacheOf(name);
    const path = await pathOf(a);
    await ask(url + path, a.srv, 'authorization');
    const revision = await platform.change(a, 'gate', { on: name === 'nginx' });
    const tookMs = await millisecondsUntil(
      async () => revisionIn(await ask(url + path, a.srv, 'authorization')) === revision,
      MAX_AGE_MS + SLACK_MS,
    );
    expect(tookMs).toBeLessThan(MAX_AGE_MS + SLACK_MS);
  });

  it('stops answering a revoked key within max-age: the path moves', async () => {
    const { url } = cacheOf(name);
    const [revoked, old] = [await issueKey(b), await pathOf(b)];
    expect((await ask(url + old, revoked, 'authorization')).status).toBe(200);
    await platform.revoke(b, revoked);
    for (const header of HEADERS) {
      const tookMs = await millisecondsUntil(
        async () => (await ask(url + old, revoked, header)).status === 401,
        MAX_AGE_MS + SLACK_MS,
      );
      expect(tookMs).toBeLessThan(MAX_AGE_MS + SLACK_MS);
    }
    const moved = await pathOf(b);
    expect(moved).not.toBe(old);
    expect((await ask(url + moved, b.srv, 'authorization')).body.includes('canary-b')).toBe(true);
    expect((await ask(url + old, b.srv, 'x-api-key')).status).toBe(404);
  });
});

describe('varnish', () => {
  it('purges one environment by its surrogate key', async () => {
    const { url } = cacheOf('varnish');
    const paths = { a: await pathOf(a), b: await pathOf(b) };
    const ban = (key: string) => fetch(`${url}/`, { method: 'BAN', headers: { 'surrogate-key': key } });
    expect((await ban('.*')).status).toBe(403);
    await ban(`env-${a.environmentId}`);
    for (const [path, key] of [
      [paths.a, a.srv],
      [paths.b, b.srv],
    ] as const)
      await ask(url + path, key, 'authorization');
    const revision = await platform.change(a, 'gate', { on: true, offVariation: 'on' });
    const before = await originAnswers();
    expect(revisionIn(await ask(url + paths.a, a.srv, 'authorization'))).toBeLessThan(revision);
    expect((await ban(`env-${a.environmentId}`)).status).toBe(200);
    expect(revisionIn(await ask(url + paths.a, a.srv, 'authorization'))).toBe(revision);
    await ask(url + paths.b, b.srv, 'authorization');
    expect((await originAnswers()) - before).toBe(1);
  });
});

describe('both', () => {
  it('answer for a node that is dead with what they have, also when it is too old', async () => {
    const targets = [];
    for (const { name, cache } of caches) {
      const url = cache.url + (await pathOf(a));
      const { status, body } = await ask(url, a.srv, 'authorization');
      targets.push({ name, url, body, status });
    }
    await platform.server.close();
    await new Promise((wake) => setTimeout(wake, DEAD_MS));
    for (const { name, url, body } of targets) {
      // The second one is asked for after the first has found out.
      for (let count = 0; count < 3; count += 1) {
        const answer = await ask(url, a.srv, 'authorization');
        expect([name, answer.status, answer.body.equals(body)]).toEqual([name, 200, true]);
      }
    }
    await platform.restartNode();
    const revision = await platform.revision(a.environment);
    for (const { url } of targets) {
      const tookMs = await millisecondsUntil(
        async () => revisionIn(await ask(url, a.srv, 'authorization')) === revision,
        MAX_AGE_MS + SLACK_MS,
      );
      expect(tookMs).toBeLessThan(MAX_AGE_MS + SLACK_MS);
    }
  });
}, 120_000);
