import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startControlPlane } from '@guidon/control-plane';
import { InProcessChangeBus } from '@guidon/protocol';
import { pino } from 'pino';
import { BenchTenant } from '../bench-tenant.js';
import { isQuick } from '../support/arguments.js';
import { BenchProcess } from '../support/bench-process.js';
import type { NodeOptions, NodeReady, NodeReport } from '../support/node-process.js';
import { percentile, rounded } from '../support/statistics.js';
import { w3Flags } from '../workloads.js';

/**
 * What changes cost those who evaluate: one environment with 1 000 flags of kind W2 and a segment of 1 000 000 keys; a client asks one flag
 * at a time, first with nothing changing, then while a flag and a segment key change in turn. Control plane and node are
 * processes of their own joined by HTTP. Also: what one more key beside the million costs on the wire and in time. `--quick` is smaller.
 */
const FLAG_COUNT = isQuick ? 100 : 1_000;
/** Leaves room below the limit of 1 000 000 for the keys that are added while measuring. */
const KEY_COUNT = isQuick ? 20_000 : 999_000;
const PHASE_MS = isQuick ? 1_500 : 15_000;
const POLL_MS = 100;
const KEYS_PER_PART = 40_000;

interface Waits {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

const folder = mkdtempSync(join(tmpdir(), 'guidon-bench-changes-'));
const logger = pino({ level: 'error' }, pino.destination(2));
const controlPlane = await startControlPlane({
  dataDirectory: join(folder, 'cp'),
  port: 0,
  bus: new InProcessChangeBus(),
  logger,
});
const tenant = await BenchTenant.create(controlPlane);
const nodeCredential = await controlPlane.issueNodeCredential('bench');

async function fill(): Promise<void> {
  for (const flag of w3Flags(FLAG_COUNT)) await tenant.createFlag(flag);
  const segments = `${tenant.environmentPath}/segments`;
  await tenant.send('POST', segments, { key: 'million', name: 'A million' });
  const upload = await tenant.send('POST', `${segments}/million/uploads`, {
    list: 'included',
    contextKind: 'user',
    mode: 'add',
  });
  const uploadPath = `${segments}/million/uploads/${String(upload.body.id)}`;
  for (let from = 0, part = 1; from < KEY_COUNT; from += KEYS_PER_PART, part += 1) {
    const keys = Array.from(
      { length: Math.min(KEYS_PER_PART, KEY_COUNT - from) },
      (_, index) => `"member-${from + index}"\n`,
    );
    await tenant.send('PUT', `${uploadPath}/parts/${part}`, keys.join(''));
  }
  await tenant.send('POST', `${uploadPath}/complete`);
}

function startNode(): Promise<BenchProcess<NodeReady>> {
  const options: NodeOptions = {
    dataDirectory: join(folder, 'node'),
    controlPlaneUrl: controlPlane.url,
    nodeCredential,
    pollIntervalMs: POLL_MS,
  };
  return BenchProcess.start<NodeReady>('support/node-process.js', [JSON.stringify(options)]);
}

/** Asks one flag after the other until `isOver`. */
async function ask(url: string, isOver: () => boolean): Promise<Waits> {
  const waits: number[] = [];
  for (let count = 0; !isOver(); count += 1) {
    const startedMs = performance.now();
    const response = await fetch(`${url}/v1/evaluate`, {
      method: 'POST',
      headers: { authorization: `Bearer ${tenant.serverKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        flags: `w3-${String(count % FLAG_COUNT).padStart(4, '0')}`,
        context: { targetingKey: `user-${count}` },
      }),
    });
    if (response.status !== 200) throw new Error(`evaluate answered ${response.status}: ${await response.text()}`);
    await response.arrayBuffer();
    waits.push(performance.now() - startedMs);
    await new Promise((wake) => setTimeout(wake, 1));
  }
  const at = (share: number) => rounded(percentile(waits, share), 2);
  return { p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
}

/** Changes one flag and adds one key, in turn, until `isOver`; answers how many and how long one key took to be acknowledged. */
async function change(isOver: () => boolean): Promise<{ count: number; keyMs: number[] }> {
  const targeting = `${tenant.environmentPath}/flags/w3-0000/targeting`;
  const keyMs: number[] = [];
  let count = 0;
  for (; !isOver(); count += 2) {
    const { etag } = await tenant.send('GET', targeting);
    await tenant.send(
      'PATCH',
      targeting,
      { on: count % 4 === 0 },
      { 'content-type': 'application/merge-patch+json', 'if-match': etag },
    );
    keyMs.push(await addKey(`late-${count}`));
    await new Promise((wake) => setTimeout(wake, POLL_MS));
  }
  return { count, keyMs };
}

async function addKey(key: string): Promise<number> {
  const segment = `${tenant.environmentPath}/segments/million`;
  const { etag } = await tenant.send('GET', segment);
  const startedMs = performance.now();
  await tenant.send(
    'POST',
    `${segment}/keys`,
    { list: 'included', contextKind: 'user', add: [key] },
    { 'if-match': etag },
  );
  return performance.now() - startedMs;
}

/** Bytes of the feed's answer to a node that lacks only the newest key. */
async function keyWireBytes(): Promise<number> {
  const { body } = await tenant.send('GET', tenant.environmentPath);
  await addKey('one-more');
  const response = await fetch(
    `${controlPlane.url}/internal/v1/environments/${String(body.id)}/config?since=${String(body.revision)}`,
    {
      headers: { authorization: `Bearer ${nodeCredential}` },
    },
  );
  return (await response.arrayBuffer()).byteLength;
}

let node: BenchProcess<NodeReady> | undefined;
try {
  console.error(`filling: ${FLAG_COUNT} flags, ${KEY_COUNT} keys`);
  await fill();
  const running = await startNode();
  node = running;
  const url = `http://127.0.0.1:${running.ready.port}`;
  const phase = async (work: (isOver: () => boolean) => Promise<unknown>) => {
    await running.ask<NodeReport>();
    const endMs = performance.now() + PHASE_MS;
    const isOver = () => performance.now() > endMs;
    const [waits] = await Promise.all([ask(url, isOver), work(isOver)]);
    const { p99Ms, maxMs } = await running.ask<NodeReport>();
    return { waits, eventLoop: { p99Ms: rounded(p99Ms, 2), maxMs: rounded(maxMs, 2) } };
  };
  const still = await phase(() => Promise.resolve());
  let changed = { count: 0, keyMs: [0] };
  const changing = await phase(async (isOver) => {
    changed = await change(isOver);
  });
  const changes = {
    changeCount: changed.count,
    still,
    changing,
    oneMoreKey: {
      keys: KEY_COUNT,
      wireBytes: await keyWireBytes(),
      ackP50Ms: rounded(percentile(changed.keyMs, 0.5), 2),
    },
  };
  console.table({
    'still: request': still.waits,
    'changing: request': changing.waits,
    'still: node event loop': still.eventLoop,
    'changing: node event loop': changing.eventLoop,
  });
  console.table({ 'one more key': changes.oneMoreKey });
  console.log(JSON.stringify({ changes }));
} finally {
  await node?.stop();
  await controlPlane.close();
  rmSync(folder, { recursive: true, force: true });
}
