import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { temporaryFolder } from '../support/guidon-process.js';
import { HttpCache } from '../support/http-cache.js';
import { until } from '../support/running-node.js';
import { StreamedPlatform, type StreamedTenant } from '../support/streamed-platform.js';
import { WebhookReceiver } from '../support/webhook-receiver.js';

const CHANGES = 20;
/** What nodes let caches keep an answer for. */
const MAX_AGE_MS = 5_000;

const folder = temporaryFolder('purge');
let platform: StreamedPlatform;
let tenant: StreamedTenant;
let cache: HttpCache;
let receiver: WebhookReceiver;
let webhooks: string;

beforeAll(async () => {
  platform = await StreamedPlatform.start({}, { webhookAllow: ['127.0.0.1'] });
  tenant = await platform.addTenant('acme');
  cache = await HttpCache.varnish(join(folder.path, 'varnish'), platform.server.port);
  receiver = await WebhookReceiver.start();
  webhooks = `${tenant.project.split('/projects/')[0]}/webhooks`;
});
afterAll(async () => {
  await cache.stop();
  await platform.close();
  await receiver.stop();
  folder.remove();
});

async function editTargeting(on: boolean): Promise<number> {
  const path = `${tenant.environment}/flags/gate/targeting`;
  const { headers } = await platform.plane.must('GET', path);
  const write = { body: { on }, headers: { 'if-match': String(headers.etag) } };
  return (await platform.plane.must('PATCH', path, write)).body.revision;
}

test('a change is purged from a real Varnish and seen through it long before its answer would have grown old', async () => {
  const made = await platform.plane.must('POST', webhooks, {
    body: { name: 'varnish', url: cache.url, form: 'varnish', project: 'shop', environment: 'dev' },
  });
  const { headers } = await fetch(`${platform.server.url}/v1/config`, {
    headers: { authorization: `Bearer ${tenant.srv}` },
    redirect: 'manual',
  });
  const url = cache.url + new URL(headers.get('location') ?? '', cache.url).pathname;
  const seen = async (): Promise<number> => {
    const answer = await fetch(url, { headers: { authorization: `Bearer ${tenant.srv}` } });
    await answer.arrayBuffer();
    return Number(answer.headers.get('x-guidon-revision'));
  };
  const visibleMs: number[] = [];
  for (let index = 0; index < CHANGES; index += 1) {
    // It is kept before each change, or there would be nothing to purge.
    await seen();
    const revision = await editTargeting(index % 2 === 0);
    const committedMs = performance.now();
    await until('the change is seen through the cache', async () => (await seen()) === revision);
    visibleMs.push(performance.now() - committedMs);
  }
  visibleMs.sort((a, b) => a - b);
  const [median = 0, last = 0] = [visibleMs[CHANGES / 2], visibleMs.at(-1)];
  console.log(`purged and visible through Varnish: median ${median.toFixed(0)} ms, most ${last.toFixed(0)} ms`);
  // Each would have taken all of max-age without the purge.
  expect(median).toBeLessThan(MAX_AGE_MS / 2);
  await until('all are logged', async () => {
    const { items } = (await platform.plane.must('GET', `${webhooks}/${made.body.id}/deliveries?limit=100`)).body;
    return items.length === CHANGES;
  });
  const { items } = (await platform.plane.must('GET', `${webhooks}/${made.body.id}/deliveries?limit=100`)).body;
  expect(new Set(items.map(({ outcome, type }: Record<string, string>) => `${outcome} ${type}`))).toEqual(
    new Set(['delivered environment.revision']),
  );
});

test.each([
  ['fastly', 'fastly-key', { 'surrogate-key': 'env-' }],
  ['cloudflare', 'authorization', { 'content-type': 'application/json' }],
] as const)(
  '%s is asked as its API wants, with what authorises at it, which is in no log',
  async (form, header, expected) => {
    const value = 'Bearer not-for-logs';
    const url = `${receiver.url}-${form}`;
    const { body } = await platform.plane.must('POST', webhooks, {
      body: {
        name: form,
        url,
        form,
        environment: 'dev',
        project: 'shop',
        authorization: { header, value },
      },
    });
    await editTargeting(true);
    await editTargeting(false);
    const asked = () => receiver.received.find((received) => url.endsWith(received.url));
    await until('it is asked', () => asked() !== undefined);
    const { method, headers = {}, body: sent = '' } = asked() ?? {};
    expect([method, headers[header]]).toEqual(['POST', value]);
    const key = `env-${tenant.environmentId}`;
    for (const [name, start] of Object.entries(expected)) expect(headers[name]).toContain(start);
    expect(form === 'fastly' ? headers['surrogate-key'] : JSON.parse(sent).tags).toEqual(
      form === 'fastly' ? key : [key],
    );
    await until('it is logged', async () => {
      const log = await platform.plane.must('GET', `${webhooks}/${body.id}/deliveries`);
      expect(log.text).not.toContain('not-for-logs');
      return log.body.items.length > 0;
    });
    expect((await platform.plane.must('GET', webhooks)).text).not.toContain('not-for-logs');
  },
);
