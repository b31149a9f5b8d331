import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { type Seed, TestControlPlane } from '../support/control-plane.js';
import { until } from '../support/running-node.js';
import { WebhookReceiver } from '../support/webhook-receiver.js';

const ROUNDS = process.env.GUIDON_DEEP === '1' ? 100 : 10;
/** Acknowledged before a kill, at least. */
const WRITES_MIN = 2;
const SCRIPT = fileURLToPath(new URL('./delivering-process.mjs', import.meta.url));
const open: { stop(): Promise<void> }[] = [];
let directory: TestControlPlane | undefined;
afterAll(async () => {
  for (const one of open) await one.stop();
  await directory?.dispose();
});

/** Lets a process write and deliver, and kills it at a random moment; answers the flags that it acknowledged. */
function deliverAndKill(where: string, seed: Seed, round: number): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [SCRIPT, where, seed.project, String(round)], {
      env: { ...process.env, GUIDON_TEST_TOKEN: seed.token },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    const writeCount = WRITES_MIN + Math.floor(Math.random() * 8);
    let timer: NodeJS.Timeout | undefined;
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString('utf8');
      if (output.split('\n').length > writeCount) timer ??= setTimeout(() => child.kill('SIGKILL'), Math.random() * 30);
    });
    child.on('error', reject);
    child.on('close', (_, signal) => {
      clearTimeout(timer);
      if (signal !== 'SIGKILL') return reject(new Error(`it ended by itself: ${output.slice(-500)}`));
      resolve(
        output
          .slice(0, output.lastIndexOf('\n') + 1)
          .split('\n')
          .filter((line) => line !== ''),
      );
    });
  });
}

test(
  `${ROUNDS} times kill -9 while delivering: every event arrives, in order, and what comes twice has its id (I4)`,
  async () => {
    const first = await TestControlPlane.start({ webhookAllow: ['127.0.0.1'] });
    directory = first;
    const seed = await first.seed();
    const quick = await WebhookReceiver.start();
    const slow = await WebhookReceiver.start((_, response) => void setTimeout(() => response.end(), 15));
    open.push(quick, slow);
    for (const { url } of [quick, slow]) {
      const body = { name: 'hook', url, events: ['flag.created'] };
      await first.must('POST', `${seed.tenant}/webhooks`, { body });
    }
    await first.stop();
    const acknowledged: string[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      acknowledged.push(...(await deliverAndKill(first.directory, seed, round)));
    }
    const last = await TestControlPlane.start({ directory: first.directory, webhookAllow: ['127.0.0.1'] });
    directory = last;
    const { id } = (await last.must('POST', `${seed.project}/flags`, { body: { key: 'last', type: 'boolean' } })).body;
    let again = 0;
    for (const receiver of [quick, slow]) {
      await until('the last event arrives', () => receiver.received.some(({ body }) => body.includes(id)), 60_000);
      const events = receiver.received.map(({ body, headers }) => {
        const { data } = JSON.parse(body) as { data: { sequence: number; object: { key: string } } };
        return { sequence: data.sequence, key: data.object.key, id: headers['webhook-id'] };
      });
      const keys = new Set(events.map(({ key }) => key));
      expect(acknowledged.filter((key) => !keys.has(key))).toEqual([]);
      const idBySequence = new Map(events.map((event) => [event.sequence, event.id]));
      expect(events.filter(({ sequence, id: given }) => idBySequence.get(sequence) !== given)).toEqual([]);
      expect(new Set(idBySequence.values()).size).toBe(idBySequence.size);
      // Seen for the first time, sequences only rise: what comes again comes in a row, from a point before.
      const firstSeen = [...idBySequence.keys()];
      expect(firstSeen).toEqual([...firstSeen].sort((a, b) => a - b));
      again += events.length - idBySequence.size;
    }
    console.log(`${ROUNDS} kills, ${acknowledged.length} changes, ${again} deliveries came again, none was lost`);
    expect(acknowledged.length).toBeGreaterThanOrEqual(ROUNDS * WRITES_MIN);
  },
  ROUNDS * 20_000,
);
