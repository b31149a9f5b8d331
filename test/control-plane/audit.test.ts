import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runAuditVerify } from '@guidon/cli/audit/verify.js';
import { rebuildAuditTree } from '@guidon/control-plane/audit/audit-store.js';
import { ControlStore, STORE_FORMAT_VERSION } from '@guidon/control-plane/store/control-store.js';
import { INSTALLATION, keys } from '@guidon/control-plane/store/keys.js';
import { STORE_MIGRATIONS } from '@guidon/control-plane/store-migrations.js';
import { parseTenantId } from '@guidon/protocol';
import { hashLeaf, isConsistent, isIncluded } from '@guidon/protocol/audit-proof';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { verdictOf } from '../support/audit-log.js';
import { booleanFlag, type Seed, TestControlPlane } from '../support/control-plane.js';

let plane: TestControlPlane;
let acme: Seed;
let audit: string;

beforeAll(async () => {
  plane = await TestControlPlane.start();
  acme = await plane.seed();
  audit = `${acme.tenant}/audit`;
  for (const key of ['one', 'two', 'three']) {
    await plane.must('POST', `${acme.project}/flags`, {
      body: { ...booleanFlag(key), name: key === 'two' ? '=cmd()' : key },
      headers: { 'user-agent': 'a test', 'x-guidon-comment': encodeURIComponent('because, "quoted"') },
    });
  }
});
afterAll(() => plane.dispose());

const bytesOf = (hex: string): Buffer => Buffer.from(hex, 'hex');
const treeHead = async () => (await plane.must('GET', `${audit}/tree-head`)).body;
const exported = async () => (await plane.must('GET', `${audit}/export`)).text;
const linesOf = (text: string) =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

describe('an entry', () => {
  test('says who, from where, why, what and which revisions', async () => {
    const { body } = await plane.must('GET', `${audit}?action=flag.create&limit=1`);
    expect(body.items[0]).toMatchObject({
      action: 'flag.create',
      subject: expect.stringMatching(/flags\/three$/),
      from: { address: '127.0.0.1', userAgent: 'a test' },
      comment: 'because, "quoted"',
      diff: [{ op: 'add', pointer: '', after: { key: 'three' } }],
    });
    for (const { previousRevision, revision } of body.items[0].environments)
      expect(revision).toBe(previousRevision + 1);
  });
});

describe('search', () => {
  test('by action, subject, actor and time, one page after the other', async () => {
    const found = async (query: string) => (await plane.must('GET', `${audit}?limit=100&${query}`)).body.items;
    const all = await found('');
    const created = await found('action=flag.create');
    expect(created.map(({ subject }: { subject: string }) => subject.split('/').at(-1))).toEqual([
      'three',
      'two',
      'one',
    ]);
    expect(await found('action=flag.*')).toEqual(created);
    expect(await found(`subject=${encodeURIComponent(created[0].subject)}`)).toEqual([created[0]]);
    expect(await found(`actor=${created[0].actor.credentialId}&action=flag.create`)).toEqual(created);
    expect(await found('actor=nobody')).toEqual([]);
    expect(await found(`from=${created[0].at + 1}`)).toEqual([]);
    expect(await found(`to=${all.at(-1).at}`)).toEqual([]);
    const first = await plane.must('GET', `${audit}?action=flag.*&limit=2`);
    const second = await plane.must('GET', `${audit}?action=flag.*&limit=2&cursor=${first.body.nextCursor}`);
    expect([...first.body.items, ...second.body.items]).toEqual(created);
  });

  test.each(['action=flag', 'action=*', 'from=soon', 'who=me'])('refuses %s', async (query) => {
    const { status } = await plane.call('GET', `${audit}?${query}`);
    expect([400, 422]).toContain(status);
  });
});

describe('export', () => {
  test('NDJSON is the log as it was hashed, oldest first', async () => {
    const { text, headers } = await plane.must('GET', `${audit}/export`);
    expect(headers['content-type']).toBe('application/x-ndjson');
    expect(headers['content-disposition']).toBe(`attachment; filename="audit-${acme.tenantId}.ndjson"`);
    const { size, root } = await treeHead();
    expect(verdictOf(linesOf(text), { size, root })).toEqual({ isSound: true, size, root });
  });

  test('JSON is one array; a filter that meets nothing gives an empty one', async () => {
    const { body } = await plane.must('GET', `${audit}/export?format=json&action=flag.create`);
    expect(body.map(({ action }: { action: string }) => action)).toEqual(Array(3).fill('flag.create'));
    expect((await plane.must('GET', `${audit}/export?format=json&actor=nobody`)).body).toEqual([]);
    expect((await plane.must('GET', `${audit}/export?actor=nobody`)).text).toBe('');
  });

  test('CSV holds nothing that a spreadsheet would run (reliability 2.1)', async () => {
    await plane.must('POST', `${acme.project}/environments`, {
      body: { key: 'third', name: 'n' },
      headers: { 'x-guidon-comment': encodeURIComponent('=HYPERLINK("x")') },
    });
    const { text } = await plane.must('GET', `${audit}/export?format=csv`);
    const [head, ...lines] = text.trimEnd().split('\r\n');
    expect(head).toMatch(/^sequence,at,actorKind,/);
    expect(lines.at(-1)).toContain(`"'=HYPERLINK(""x"")"`);
    expect(text).not.toMatch(/(^|,)"?[=+@]/m);
  });
});

describe('proofs', () => {
  test('an entry is in the log, and the log of yesterday is the beginning of today’s', async () => {
    const before = await treeHead();
    await plane.must('POST', `${acme.project}/flags`, { body: booleanFlag('later') });
    const after = await treeHead();
    const stateOf = ({ size, root }: { size: number; root: string }) => ({ size, root: bytesOf(root) });
    const growth = await plane.must('GET', `${audit}/consistency-proof?first=${before.size}&second=${after.size}`);
    expect(isConsistent(stateOf(before), stateOf(after), growth.body.hashes.map(bytesOf))).toBe(true);
    for (const { sequence, text } of linesOf(await exported())) {
      const { body } = await plane.must('GET', `${audit}/inclusion-proof?sequence=${sequence}&size=${after.size}`);
      expect(body.root).toBe(after.root);
      expect(isIncluded(hashLeaf(text), sequence - 1, stateOf(after), body.hashes.map(bytesOf))).toBe(true);
    }
  });

  test.each([
    ['inclusion-proof?sequence=1&size=100000', '/size'],
    ['inclusion-proof?sequence=3&size=2', '/sequence'],
    ['consistency-proof?first=2&second=1', '/first'],
    ['consistency-proof?first=1&second=100000', '/second'],
  ])('%s is refused with a pointer', async (path, pointer) => {
    const { status, body } = await plane.call('GET', `${audit}/${path}`);
    expect([status, body.errors[0].pointer]).toEqual([422, pointer]);
  });

  test('the installation has a log of its own', async () => {
    expect((await plane.must('GET', '/api/v1/audit/export')).text).toBe('');
    await plane.must('POST', '/api/v1/node-credentials', { body: { name: 'n' } });
    const { body } = await plane.must('GET', '/api/v1/audit/tree-head');
    expect(body.size).toBe(1);
    const lines = linesOf((await plane.must('GET', '/api/v1/audit/export')).text);
    expect(verdictOf(lines, body)).toMatchObject({ isSound: true, size: body.size });
  });
});

describe('guidon audit verify', () => {
  const verify = async (log: string, options: { head?: unknown; trustRoot?: string } = {}) => {
    const file = join(plane.directory, 'export.ndjson');
    const headFile = join(plane.directory, 'head.json');
    writeFileSync(file, log);
    writeFileSync(headFile, JSON.stringify(options.head ?? null));
    const said = vi.spyOn(console, 'log').mockImplementation(() => undefined);
    try {
      const status = await runAuditVerify(file, {
        ...(options.head === undefined ? {} : { head: headFile }),
        ...(options.trustRoot === undefined ? {} : { trustRoot: options.trustRoot }),
      });
      return { status, said: said.mock.calls.join('\n') };
    } finally {
      said.mockRestore();
      rmSync(file);
    }
  };

  test('takes a whole log and the head of an earlier day', async () => {
    const head = await treeHead();
    await plane.must('POST', `${acme.project}/flags`, { body: booleanFlag('much-later') });
    const { status, said } = await verify(await exported(), { head, trustRoot: plane.running.trustRoot });
    expect(said).toMatch(new RegExp(`unbroken.*as of the head of ${head.size}`));
    expect(status).toBe(0);
  });

  test('names the first bad entry', async () => {
    const head = await treeHead();
    const log = await exported();
    expect(await verify(log.replace('because', 'whatever'), { head })).toMatchObject({ status: 1, said: /first bad/ });
    const cut = log.trimEnd().split('\n').slice(0, 3).join('\n');
    expect(await verify(cut, { head })).toMatchObject({ status: 1, said: expect.stringMatching(/^entry 4 .*missing/) });
    expect((await verify(cut)).said).toMatch(/a cut end would not show/);
    for (const damaged of [
      log.slice(0, cut.length - 20),
      log.replace('\n{"sequence":3,', '\n{"sequence":2,'),
      log.replace('\n{"sequence":3,', '\n{"sequence":3,"actor":"somebody else",'),
      log.replace('\n{"sequence":3,', '\n{"sequence":3:'),
      `${cut}{}\n`,
    ]) {
      expect(await verify(damaged)).toMatchObject({ status: 1, said: expect.stringMatching(/^entry [34] .*edited/) });
    }
  });

  test('a head that is not signed back to the pinned root is refused, and so is what is no export', async () => {
    const head = await treeHead();
    const log = await exported();
    await expect(verify(log, { head, trustRoot: 'A'.repeat(43) })).rejects.toThrow(/pinned/);
    await expect(verify(log, { head: { ...head, signed: head.keySet } })).rejects.toThrow(/tree head/);
    await expect(verify(log, { head: {} })).rejects.toThrow(/no tree head/);
    await expect(verify('{"a":1}\n')).rejects.toThrow(/format=ndjson/);
    await expect(verify('nonsense\n')).rejects.toThrow(/not JSON/);
  });
});

test('a store of format 1 gets its Merkle trees when it is opened', async () => {
  const old = await TestControlPlane.start();
  const seed = await old.seed();
  const before = (await old.must('GET', `${seed.tenant}/audit/tree-head`)).body;
  await old.stop();
  const directory = join(old.directory, 'store');
  const tenantId = parseTenantId(seed.tenantId);
  const store = await ControlStore.open({ directory });
  await store.transaction((transaction) => {
    for (const owner of [tenantId, INSTALLATION] as const) {
      const { sequence, hash } = transaction.find<{ sequence: number; hash: string }>(keys.auditHead(owner)) ?? {};
      transaction.put(keys.auditHead(owner), { sequence, hash });
      for (let index = 0; index < before.size; index += 1) transaction.remove(keys.auditNode(owner, 1, index));
    }
    transaction.put(keys.storeFormat(), { version: 1 });
  });
  await store.close();

  await expect(ControlStore.open({ directory })).rejects.toThrow(/format 1, which this build cannot migrate/);
  const failing = STORE_MIGRATIONS.map((migration) => ({
    ...migration,
    migrate: (transaction: Parameters<typeof rebuildAuditTree>[0]) => {
      rebuildAuditTree(transaction, tenantId);
      throw new Error('killed half-way');
    },
  }));
  await expect(ControlStore.open({ directory, migrations: failing })).rejects.toThrow('killed half-way');

  const again = await TestControlPlane.start({ directory: old.directory });
  const { size, root } = (await again.must('GET', `${seed.tenant}/audit/tree-head`)).body;
  expect([size, root]).toEqual([before.size, before.root]);
  const proof = await again.must('GET', `${seed.tenant}/audit/inclusion-proof?sequence=1&size=${size}`);
  expect(proof.body.root).toBe(root);
  await again.dispose();
  const steps = Array.from({ length: STORE_FORMAT_VERSION - 1 }, (_, index) => index + 1);
  expect(STORE_MIGRATIONS.map(({ from }) => from)).toEqual(steps);
});
