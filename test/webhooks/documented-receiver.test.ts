import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestControlPlane } from '../support/control-plane.js';
import { GuidonProcess, REPOSITORY, temporaryFolder } from '../support/guidon-process.js';
import { freePort } from '../support/nginx.js';
import { until } from '../support/running-node.js';

const folder = temporaryFolder('receiver');
let plane: TestControlPlane;
let receiver: GuidonProcess | undefined;

beforeAll(async () => {
  plane = await TestControlPlane.start({ webhookAllow: ['127.0.0.1'] });
});
afterAll(async () => {
  await receiver?.stop();
  await plane.dispose();
  folder.remove();
});

test('the receiver of docs/webhooks.md takes what is genuine, once, and nothing else', async () => {
  const [, sample = ''] = /```js\n([\s\S]*?)```/.exec(readFileSync(join(REPOSITORY, 'docs/webhooks.md'), 'utf8')) ?? [];
  const file = join(folder.path, 'receiver.mjs');
  writeFileSync(file, sample);
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/`;
  const { tenant, project } = await plane.seed();
  const body = { name: 'hook', url, events: ['flag.created'] };
  const { secret, id } = (await plane.must('POST', `${tenant}/webhooks`, { body })).body;
  receiver = new GuidonProcess([], { WEBHOOK_SECRET: secret, PORT: String(port) }, file);
  await receiver.waitFor(/ready/);
  await plane.must('POST', `${project}/flags`, { body: { key: 'checkout', type: 'boolean' } });
  const [, sequence = ''] = await receiver.waitFor(/flag\.created (\d+) projects\/shop\/flags\/checkout/);
  const path = `${tenant}/webhooks/${id}`;
  await until(
    'it is written down',
    async () => (await plane.must('GET', `${path}/state`)).body.cursor >= Number(sequence),
  );
  await plane.must('POST', `${path}/redeliver`, { body: { from: Number(sequence) } });
  await until('it is sent again', async () => (await plane.must('GET', `${path}/deliveries`)).body.items.length === 2);
  const { items } = (await plane.must('GET', `${path}/deliveries`)).body;
  expect(items.map(({ outcome }: { outcome: string }) => outcome)).toEqual(['delivered', 'delivered']);
  expect(receiver.output.match(/flag\.created/g)).toHaveLength(1);
  const { headers, body: sent } = items[1].request;
  const post = (more: object, text = sent) =>
    fetch(url, { method: 'POST', headers: { ...headers, ...more }, body: text });
  expect((await post({})).status).toBe(204);
  const old = String(Number(headers['webhook-timestamp']) - 301);
  for (const forged of [
    post({}, `${sent} `),
    post({ 'webhook-timestamp': old }),
    post({ 'webhook-id': 'msg_x' }),
    post({ 'webhook-signature': '' }),
    post({ 'webhook-signature': 'v1,AAAA' }),
  ]) {
    expect((await forged).status).toBe(401);
  }
});
