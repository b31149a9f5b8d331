import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AuditEntry, type AuditRow, sealAuditEntry } from '@guidon/control-plane/audit/audit-entry.js';
import { rebuildAuditTree } from '@guidon/control-plane/audit/audit-store.js';
import { ControlStore, type StoreTransaction } from '@guidon/control-plane/store/control-store.js';
import { keys } from '@guidon/control-plane/store/keys.js';
import { parseTenantId, type TenantId } from '@guidon/protocol';
import { parseTreeHead } from '@guidon/protocol/audit-proof';
import { decodeSigned } from '@guidon/protocol/msgpack';
import { type RunningServer, startServer } from '@guidon/server';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { booleanFlag, type Seed, TestControlPlane } from '../support/control-plane.js';
import { GuidonProcess } from '../support/guidon-process.js';
import { until } from '../support/running-node.js';

/** I23: whoever holds the control plane's whole store cannot change its logs unseen, because nodes hold what they were. */
let plane: TestControlPlane;
let acme: Seed;
let token: string;
let nodeDirectory: string;
let node: RunningServer | undefined;

beforeEach(async () => {
  plane = await TestControlPlane.start({ treeHeadIntervalMs: 20 });
  acme = await plane.seed();
  token = await plane.running.issueNodeCredential('witness');
  nodeDirectory = mkdtempSync(join(tmpdir(), 'guidon-witness-'));
});
afterEach(async () => {
  await node?.close();
  await plane.dispose();
  rmSync(nodeDirectory, { recursive: true });
});

async function startNode(): Promise<void> {
  node = await startServer({
    dataDirectory: nodeDirectory,
    port: 0,
    metricsPort: 0,
    controlPlaneUrl: plane.running.url,
    nodeCredential: token,
    trustRoot: plane.running.trustRoot,
    pollIntervalMs: 50,
    logger: pino({ level: 'silent' }),
  });
}

const makeFlag = (key: string) => plane.must('POST', `${acme.project}/flags`, { body: booleanFlag(key) });
const logSize = async (): Promise<number> => (await plane.must('GET', `${acme.tenant}/audit/tree-head`)).body.size;
const newestKept = async (): Promise<number> =>
  (await plane.must('GET', `${acme.tenant}/audit/tree-heads?limit=1`)).body.items[0]?.size ?? 0;
async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${node?.metricsUrl}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
}
const witnessed = async () => (await plane.must('GET', '/api/v1/nodes')).body.items[0]?.witness;

/** The node has seen the log as it is now. */
async function untilWitnessed(): Promise<void> {
  const size = await logSize();
  await until('the head is signed', async () => (await newestKept()) >= size);
  // Of twelve polls one looks at the heads; one that began afterwards has it.
  const polls = () => metric('guidon_polls_total\\{outcome="ok"\\}');
  const from = await polls();
  await until('the node has polled', async () => (await polls()) >= from + 14);
  expect(await metric('guidon_witnessed_audit_logs')).toBe(2);
  expect(await metric('guidon_inconsistent_audit_logs')).toBe(0);
}

async function guidon(...args: string[]): Promise<void> {
  const command = new GuidonProcess(args);
  expect(await command.exitStatus(), command.output).toBe(0);
}

/** Ends both, lets `tamper` loose on the store with all its kept heads, and starts both again: the node on what it had. */
async function restartAfter(tamper: (transaction: StoreTransaction, tenantId: TenantId) => void): Promise<void> {
  await node?.close();
  await plane.stop();
  const store = await ControlStore.open({ directory: join(plane.directory, 'store') });
  const tenantId = parseTenantId(acme.tenantId);
  await store.transaction((transaction) => {
    tamper(transaction, tenantId);
    for (const { key } of transaction.list(keys.auditTreeHeads(tenantId))) transaction.remove(key);
  });
  await store.close();
  plane = await TestControlPlane.start({ treeHeadIntervalMs: 20, directory: plane.directory });
  await startNode();
}

/** Writes entries anew, chain and tree and all, as somebody with the whole store would. */
function rewrite(transaction: StoreTransaction, tenantId: TenantId, edit: (entry: AuditEntry) => AuditEntry): void {
  let previousHash = '';
  for (const { key, value } of transaction.list<AuditRow>(keys.auditEntries(tenantId))) {
    const row = sealAuditEntry({ ...edit(JSON.parse(value.text)), previousHash });
    transaction.put(key, row);
    previousHash = row.hash;
  }
  rebuildAuditTree(transaction, tenantId);
}

describe('heads of a log that grows', () => {
  test('are signed by themselves, kept and listed newest first', async () => {
    await until('a head is signed', async () => (await newestKept()) > 0);
    const first = await newestKept();
    await makeFlag('one');
    await until('the newest head is signed', async () => (await newestKept()) === (await logSize()));
    expect(await newestKept()).toBeGreaterThan(first);
    const { body } = await plane.must('GET', `${acme.tenant}/audit/tree-heads`);
    const sizes = body.items.map(({ size }: { size: number }) => size);
    expect(sizes).toEqual([...sizes].sort((a: number, b: number) => b - a));
    expect(new Set(sizes).size).toBe(sizes.length);
    const { signed, size, root } = body.items[0];
    const head = parseTreeHead(decodeSigned(Buffer.from(signed, 'base64')).signed.document);
    expect(head).toMatchObject({ owner: acme.tenantId, size, root });
    expect((await plane.must('GET', '/api/v1/audit/tree-heads')).body.items.length).toBeGreaterThan(0);
    const quiet = await newestKept();
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await newestKept()).toBe(quiet);
  });

  test('are given to nodes from a cursor on; no proof of what is not there', async () => {
    await until('a head is signed', async () => (await newestKept()) > 0);
    const read = (cursor: string) => plane.must('GET', `/internal/v1/tree-heads?cursor=${cursor}`, { token });
    await until('both are there', async () => (await read('')).body.heads.length === 2);
    const all = (await read('')).body;
    expect((await read(all.cursor)).body).toEqual({ heads: [], cursor: all.cursor, hasMore: false });
    expect((await read('another.7')).body.heads).toHaveLength(2);
    const prove = (owner: string, first: number, second: number) =>
      plane.call('GET', `/internal/v1/consistency-proof?owner=${owner}&first=${first}&second=${second}`, { token });
    expect((await prove(acme.tenantId, 1, await logSize())).status).toBe(200);
    expect((await prove(acme.tenantId, 1, 10_000)).status).toBe(422);
    expect((await prove('ten_nobody', 1, 2)).status).toBe(404);
    expect((await plane.call('GET', '/internal/v1/tree-heads', { token: acme.token })).status).toBe(403);
  });
});

describe('a node', () => {
  test('follows a log that only grows, over restarts of both', async () => {
    await startNode();
    await untilWitnessed();
    for (const key of ['one', 'two', 'three']) {
      await makeFlag(key);
      await untilWitnessed();
    }
    await restartAfter(() => {});
    await makeFlag('four');
    await untilWitnessed();
    expect(await witnessed()).toMatchObject({ inconsistent: [], inconsistentCount: 0 });
  });

  test.each([
    [
      'an edited entry',
      false,
      (entry: AuditEntry) => (entry.sequence === 2 ? { ...entry, summary: 'nothing' } : entry),
    ],
    [
      'an edited entry and new ones behind',
      true,
      (entry: AuditEntry) => (entry.sequence === 2 ? { ...entry, summary: 'nothing' } : entry),
    ],
  ] as const)('notices a log that was written anew with %s', async (_, grows, edit) => {
    await startNode();
    await makeFlag('one');
    await untilWitnessed();
    const held = await logSize();
    await restartAfter((transaction, tenantId) => rewrite(transaction, tenantId, edit));
    if (grows) await makeFlag('two');
    await until('the node reports it', async () => (await witnessed())?.inconsistentCount === 1);
    const [report] = (await witnessed()).inconsistent;
    expect(report).toMatchObject({ owner: acme.tenantId, size: held, reason: expect.stringMatching(/^the log/) });
    expect(await metric('guidon_inconsistent_audit_logs')).toBe(1);
    // It holds on to what it had: more entries make it no better.
    await makeFlag('three');
    await until('a newer head is shown', async () => (await witnessed()).inconsistent[0].shownSize > held);
  });

  test('notices a log whose end was cut off', async () => {
    await startNode();
    await makeFlag('one');
    await untilWitnessed();
    const held = await logSize();
    await restartAfter((transaction, tenantId) => {
      transaction.remove(keys.audit(tenantId, held));
      rewrite(transaction, tenantId, (entry) => entry);
    });
    await until('the node reports it', async () => (await witnessed())?.inconsistentCount === 1);
    expect((await witnessed()).inconsistent[0]).toMatchObject({
      reason: 'the log has become shorter',
      shownSize: held - 1,
    });
  });

  test('takes a log that a restore has cut, says so once, and still notices one that somebody else cuts', async () => {
    await startNode();
    await makeFlag('one');
    await untilWitnessed();
    const backup = join(nodeDirectory, 'backup');
    await guidon('backup', '--data', plane.directory, '--out', backup);
    for (const key of ['two', 'three', 'more']) await makeFlag(key);
    await untilWitnessed();
    const held = await logSize();
    await node?.close();
    await plane.stop();
    await guidon('restore', backup, '--data', plane.directory);
    plane = await TestControlPlane.start({ treeHeadIntervalMs: 20, directory: plane.directory });
    await startNode();
    // That of the tenant; the installation's has only grown.
    await until('it was taken', async () => (await witnessed())?.restoredCount === 1);
    expect(await logSize()).toBeLessThan(held);
    // As long as it was, and not the same.
    for (const key of ['four', 'five', 'six', 'seven']) await makeFlag(key);
    await untilWitnessed();
    expect(await witnessed()).toMatchObject({ inconsistent: [], inconsistentCount: 0, restoredCount: 1 });
    const size = await logSize();
    await restartAfter((transaction, tenantId) => {
      transaction.remove(keys.audit(tenantId, size));
      rewrite(transaction, tenantId, (entry) => entry);
    });
    await until('the node reports it', async () => (await witnessed())?.inconsistentCount === 1);
    expect((await witnessed()).inconsistent[0]).toMatchObject({ reason: 'the log has become shorter', size });
  }, 120_000);

  test('takes no head from before a restore for one that came after it', async () => {
    await startNode();
    await makeFlag('one');
    await untilWitnessed();
    await restartAfter((transaction) => transaction.put(keys.restoredEpoch(), 2));
    await makeFlag('two');
    await untilWitnessed();
    await restartAfter((transaction) => transaction.remove(keys.restoredEpoch()));
    await makeFlag('three');
    await until('the node reports it', async () => (await witnessed())?.inconsistentCount >= 1);
    expect((await witnessed()).inconsistent[0]).toMatchObject({ reason: 'the head is one from before a restore' });
  }, 120_000);

  test('takes back its report when the log is again what it was', async () => {
    await startNode();
    await makeFlag('one');
    await untilWitnessed();
    const summaries: string[] = [];
    await restartAfter((transaction, tenantId) =>
      rewrite(transaction, tenantId, (entry) => {
        summaries.push(entry.summary);
        return { ...entry, summary: 'x' };
      }),
    );
    await until('the node reports it', async () => (await witnessed())?.inconsistentCount === 1);
    await restartAfter((transaction, tenantId) =>
      rewrite(transaction, tenantId, (entry) => ({ ...entry, summary: summaries[entry.sequence - 1] ?? '' })),
    );
    await makeFlag('two');
    await until('the node says so', async () => (await witnessed())?.inconsistentCount === 0);
  });
});
