import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { STORE_FORMAT_VERSION } from '@guidon/control-plane/store/control-store.js';
import { SNAPSHOT_FORMAT_VERSION } from '@guidon/engine';
import { parseEnvironmentRef } from '@guidon/protocol';
import { decodeConfigMessage, decodeSigned } from '@guidon/protocol/msgpack';
import { SnapshotStore } from '@guidon/server/snapshot-store/snapshot-store.js';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { TestControlPlane } from '../support/control-plane.js';
import { freePort } from '../support/nats-server.js';
import { until } from '../support/running-node.js';
import { type CompatNode, FIXTURE_NAMES, OpenedFixture } from './opened-fixture.js';
import { pathOf, RecordedControlPlane } from './recorded-control-plane.js';

/** Installations that builds of before have left, and this build: nothing is lost, and each case says what it did. */
const COMPILED_AGAIN = 'the stored snapshot cannot be loaded; compiling it again';

/** Of each store format the first: each brought members and rows that those before do not have. */
const FIRST_OF_STORE_FORMATS = FIXTURE_NAMES.filter(
  (name, index) => name.slice(-7) !== FIXTURE_NAMES[index - 1]?.slice(-7),
);

let fixture: OpenedFixture;
const closing: { close(): Promise<unknown> }[] = [];
afterEach(async () => {
  for (const one of closing.splice(0).reverse()) await one.close();
});

function open(name: string): void {
  fixture = new OpenedFixture(name);
  closing.push(fixture);
}

async function startControlPlane(): Promise<TestControlPlane> {
  const plane = await TestControlPlane.start({ directory: fixture.controlPlaneDirectory });
  closing.push({ close: () => plane.stop() });
  return plane;
}

async function untilAnswers(node: CompatNode): Promise<void> {
  const same = async () => JSON.stringify(await fixture.answersOf(node)) === JSON.stringify(fixture.compatCase.answers);
  await until('it answers what the old node answered', same);
}

/** Turns `gate` off with the token of then; resolves with its revision. */
async function turnOff(plane: TestControlPlane): Promise<number> {
  const { admin: token, environmentPath } = fixture.compatCase;
  const path = `${environmentPath}/flags/gate/targeting`;
  const { etag } = (await plane.must('GET', path, { token })).headers;
  const options = { token, body: { on: false }, headers: { 'if-match': String(etag) } };
  return (await plane.must('PATCH', path, options)).body.revision;
}

test('there is a fixture of every format there has been', () => {
  const formats = FIXTURE_NAMES.map((name) => name.match(/\d+/g)?.map(Number) ?? []);
  const all = (last: number) => Array.from({ length: last }, (_, index) => index + 1);
  expect([...new Set(formats.map(([snapshot]) => snapshot))]).toEqual(all(SNAPSHOT_FORMAT_VERSION));
  expect([...new Set(formats.map(([, store]) => store))]).toEqual(all(STORE_FORMAT_VERSION));
});

describe.each(FIRST_OF_STORE_FORMATS)('%s', (name) => {
  beforeEach(() => {
    open(name);
  });

  test('the control plane’s store is migrated and everything in it is there; the node’s is taken over and goes on', async () => {
    const { admin: token, tenantId, environmentPath, environmentId, revision, auditActions } = fixture.compatCase;
    const { storeFormat, snapshotFormat } = fixture.compatCase;
    const plane = await startControlPlane();
    expect((await plane.must('GET', environmentPath, { token })).body.revision).toBe(revision);
    const { body: greeting } = await plane.must('GET', `${environmentPath}/flags/greeting/targeting`, { token });
    expect(greeting.rules.map(({ id }: { id: string }) => id)).toEqual(['german', 'vip']);
    const audit = (await plane.must('GET', `/api/v1/tenants/${tenantId}/audit?limit=100`, { token })).body.items;
    expect(audit.map(({ action }: { action: string }) => action).slice(-auditActions.length)).toEqual(auditActions);
    // Brought by formats 2, 3, 4 and 5: they know what was written before them.
    const head = await plane.must('GET', `/api/v1/tenants/${tenantId}/audit/tree-head`, { token });
    expect(head.body.size).toBe(audit.length);
    const history = await plane.must('GET', `${environmentPath}/revisions?limit=100`, { token });
    expect(history.body.items.map((row: { revision: number }) => row.revision)).toContain(revision);
    const usage = await plane.must('GET', `/api/v1/tenants/${tenantId}/usage`, { token });
    expect(usage.text).toContain('"flags"');
    // Format 5: its feed begins with the state of then.
    const gone = await plane.call('GET', `/api/v1/tenants/${tenantId}/feed`, { token });
    expect(gone.status).toBe(storeFormat < 5 ? 410 : 200);
    const state = await plane.must('GET', `/api/v1/tenants/${tenantId}/feed/state?limit=1000`, { token });
    expect(state.text).toContain('/flags/greeting/targeting"');

    const node = await fixture.startNode(plane.running.url);
    expect(node.server.revisionOf(environmentId)).toBe(revision);
    await untilAnswers(node);
    const isForeign = snapshotFormat !== SNAPSHOT_FORMAT_VERSION;
    expect(node.messages.includes(COMPILED_AGAIN)).toBe(isForeign);
    const next = await turnOff(plane);
    await until('the change arrives', () => node.server.revisionOf(environmentId) === next);
    expect((await fixture.answersOf(node))[0]).toMatchObject({ flag: 'gate', value: false });
    console.log(
      `${name}: control-plane store ${storeFormat} -> ${STORE_FORMAT_VERSION}, node store ${isForeign ? 'compiled again' : 'loaded as it was'}`,
    );
  }, 60_000);

  test('a node of this build is fed by a control plane of that build', async () => {
    const plane = await RecordedControlPlane.start(fixture);
    closing.push(plane);
    const node = await fixture.startNode(plane.url, join(fixture.nodeDirectory, 'fresh'));
    await untilAnswers(node);
    // What came later is asked for and not there; nothing that was there is asked for in another way.
    expect(plane.refused.filter((line) => line.endsWith('400'))).toEqual([]);
    expect(node.messages.filter((message) => message === 'the source could not be polled')).toEqual([]);
  });

  test('a node of that build is answered as it was', async () => {
    const plane = await startControlPlane();
    const token = readFileSync(join(fixture.controlPlaneDirectory, '../node.key'), 'utf8').trim();
    for (const exchange of fixture.compatCase.exchanges.filter(({ status }) => status === 200)) {
      const { method, path, type } = exchange;
      const answer = await plane.call(method, path, { token });
      expect([path, answer.status, mediaType(answer.headers['content-type'])]).toEqual([path, 200, mediaType(type)]);
      expect(shapeOf(path, answer.bytes), path).toMatchObject(
        Object(shapeOf(path, Buffer.from(exchange.body, 'base64'))),
      );
    }
  });

  test('a node store that a later build has written is rebuilt, not lost: a downgrade', async () => {
    const { environmentId, answers } = fixture.compatCase;
    await (await fixture.startNode(`http://127.0.0.1:${await freePort()}`)).server.close();
    const store = await SnapshotStore.open(fixture.nodeDirectory, pino({ level: 'silent' }));
    const environment = parseEnvironmentRef(store.listEnvironments()[0] ?? {});
    const state = store.findState(environment);
    const mark = store.findMark(environment, 'config');
    if (state?.root === undefined || mark === undefined) throw new Error('it is stored');
    const root = Buffer.from(state.root);
    root.writeUInt32LE(SNAPSHOT_FORMAT_VERSION + 1, 4);
    await store.putRevision(environment, {
      mark,
      signed: state.signed,
      root,
      newBlocks: new Map([['f'.repeat(64), Buffer.from('of a later format')]]),
      newDefinitions: new Map(),
      index: [],
      droppedBlockIds: [],
      droppedHashes: [],
      fallback: undefined,
    });
    await store.close();
    const node = await fixture.startNode(`http://127.0.0.1:${await freePort()}`);
    expect(node.messages).toContain(COMPILED_AGAIN);
    expect(node.server.revisionOf(environmentId)).toBe(mark.revision);
    expect(await fixture.answersOf(node)).toEqual(answers);
  });
});

test.each(FIXTURE_NAMES)('a node starts from the store of %s with nobody else there (I12)', async (name) => {
  open(name);
  const node = await fixture.startNode(`http://127.0.0.1:${await freePort()}`);
  const { environmentId, revision, answers, snapshotFormat } = fixture.compatCase;
  expect(node.server.revisionOf(environmentId)).toBe(revision);
  expect(await fixture.answersOf(node)).toEqual(answers);
  expect(node.messages.includes(COMPILED_AGAIN)).toBe(snapshotFormat !== SNAPSHOT_FORMAT_VERSION);
});

const mediaType = (type = ''): string => type.replace(/;.*/, '');

/** Members and the types of their values: what a reader relies on. Of signed documents, the document's. */
function shapeOf(path: string, bytes: Buffer): unknown {
  if (!pathOf(path).startsWith('/internal/v1/environments/') && !path.endsWith('/key-set')) {
    return typesOf(JSON.parse(bytes.toString('utf8')));
  }
  if (!pathOf(path).endsWith('/config')) return typesOf(JSON.parse(text(decodeSigned(bytes).signed.document)));
  const { signed, delta, previousRevision } = decodeConfigMessage(bytes);
  const changed = delta?.changed.map((definition) => text(definition)).sort();
  return { document: typesOf(JSON.parse(text(signed.document))), changed, previousRevision };
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');

function typesOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.slice(0, 1).map(typesOf);
  if (typeof value !== 'object' || value === null) return typeof value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, typesOf(member)]));
}
