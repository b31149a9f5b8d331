import { decodeDefinition, definitionKey, type FlagSet, ReferenceEvaluation } from '@guidon/engine';
import { decodeConfigMessage } from '@guidon/protocol/msgpack';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, booleanFlag, type Seed, TestControlPlane } from '../support/control-plane.js';

let plane: TestControlPlane;
let acme: Seed;
let node: string;
let now = 1_700_000_000_000;

beforeAll(async () => {
  plane = await TestControlPlane.start({ now: () => now });
  acme = await plane.seed();
  node = await plane.running.issueNodeCredential('node');
});
afterAll(() => plane.dispose());

const revisionNow = async (seed = acme): Promise<number> => (await plane.must('GET', seed.prod.path)).body.revision;

/** What a node is given now. */
async function servedNow(): Promise<FlagSet> {
  const { bytes } = await plane.must('GET', `/internal/v1/environments/${acme.prod.id}/config`, { token: node });
  const set = { flags: new Map(), segments: new Map(), segmentKeys: new Map() };
  for (const one of decodeConfigMessage(bytes).delta?.changed ?? []) {
    const parsed = decodeDefinition(one);
    if (!parsed.ok) throw new Error('a served definition does not parse');
    const { value } = parsed;
    const map = { flag: set.flags, segment: set.segments, 'segment-keys': set.segmentKeys }[value.kind];
    map.set(definitionKey(value), value);
  }
  return set;
}

async function edit(method: string, path: string, body?: unknown): Promise<void> {
  const { headers } = await plane.must('GET', path);
  await plane.must(method, path, {
    ...(body === undefined ? {} : { body }),
    headers: {
      'if-match': headers.etag ?? '',
      'content-type': method === 'PATCH' ? 'application/merge-patch+json' : 'application/json',
    },
  });
}

const target = (flag: string, patch: object) => edit('PATCH', `${acme.prod.path}/flags/${flag}/targeting`, patch);
const segmentKeys = (body: object) => plane.must('POST', `${acme.prod.path}/segments/beta/keys`, { body });
const newFlag = (key: string, prod: object = {}) =>
  plane.must('POST', `${acme.project}/flags`, {
    body: { ...booleanFlag(key), initialTargeting: { prod: { on: true, ...prod } } },
  });
async function archive(path: string): Promise<void> {
  const { headers } = await plane.must('GET', path);
  await plane.must('POST', `${path}/archive`, { headers: { 'if-match': headers.etag ?? '' } });
}

const asOf = (body: object, token = acme.token): Promise<Answer> =>
  plane.call('POST', `${acme.prod.path}/evaluate-as-of`, { body, token });
const bisect = (body: object, token = acme.token): Promise<Answer> =>
  plane.call('POST', `${acme.prod.path}/bisect`, { body, token });
const codeOf = ({ status, body }: Answer) => [status, body.code];

const CONTEXTS = [
  { targetingKey: 'user-1', country: 'DE' },
  { targetingKey: 'user-9999', country: 'FR' },
  { targetingKey: 'user-777' },
  { targetingKey: 'member' },
  { kind: 'multi', user: { targetingKey: 'member', country: 'DE' }, device: { targetingKey: 'phone' } },
  { kind: 'device', targetingKey: 'phone' },
  'no context',
];
const FLAGS = ['gate', 'base', 'timed', 'never-there'];

const half = {
  rollout: {
    weights: [
      { variation: 'on', weight: 50_000 },
      { variation: 'off', weight: 50_000 },
    ],
  },
};
const inBeta = { id: 'b', when: { segment: ['beta'] }, serve: { variation: 'on' } };
const usersFrom = (start: number, count: number) =>
  Array.from({ length: count }, (_, index) => `user-${start + index}`);

/** Each makes at least one revision; together they touch everything that an answer can depend on. */
const EDITS: (() => Promise<unknown>)[] = [
  () => newFlag('base', { fallthrough: half }),
  () => newFlag('gate', { fallthrough: { variation: 'off' } }),
  () => plane.must('POST', `${acme.prod.path}/segments`, { body: { key: 'beta', included: [{ keys: ['member'] }] } }),
  () => target('gate', { rules: [inBeta] }),
  () => segmentKeys({ add: ['user-1'], remove: ['member'] }),
  // More keys than a chunk holds: the list splits, and the chunk it was is gone.
  () => segmentKeys({ add: usersFrom(100, 9_950) }),
  () => segmentKeys({ add: ['phone'], contextKind: 'device' }),
  () => target('gate', { prerequisites: [{ flag: 'base', variations: ['on'] }] }),
  () => target('base', { on: false }),
  () => target('base', { on: true, fallthrough: { variation: 'on' } }),
  () => segmentKeys({ remove: usersFrom(200, 9_700) }),
  () =>
    edit('PATCH', `${acme.prod.path}/segments/beta`, {
      rules: [{ when: { attribute: 'country', op: 'in', values: ['FR'] } }],
    }),
  () => segmentKeys({ add: ['user-1'], list: 'excluded' }),
  () =>
    newFlag('timed', {
      rules: [
        {
          id: 't',
          when: { attribute: '@now', op: 'after', values: ['2023-11-14T22:13:40.500Z'] },
          serve: { variation: 'off' },
        },
      ],
    }),
  () => target('gate', { rules: [] }),
  () => archive(`${acme.prod.path}/segments/beta`),
  () => target('gate', { prerequisites: [], fallthrough: half }),
  () => archive(`${acme.project}/flags/base`),
];

interface Recorded {
  readonly revision: number;
  readonly at: number;
  readonly explanations: unknown[];
}

describe('as of', () => {
  const recorded: Recorded[] = [];

  beforeAll(async () => {
    const toggles = Array.from({ length: 15 }, (_, count) => () => target('gate', { on: count % 2 === 1 }));
    for (const make of [...EDITS, ...toggles]) {
      now += 1_000;
      await make();
      const set = await servedNow();
      const explanations = CONTEXTS.map((context) =>
        FLAGS.map((flag) => new ReferenceEvaluation(set, context, { now }).explain(flag)),
      );
      recorded.push({ revision: await revisionNow(), at: now, explanations: JSON.parse(JSON.stringify(explanations)) });
    }
  });

  test('every revision answers what it answered when it was in force, and why, step by step', async () => {
    expect(recorded.length).toBeGreaterThanOrEqual(30);
    for (const { revision, at, explanations } of recorded) {
      for (const [index, context] of CONTEXTS.entries()) {
        const { status, body } = await asOf({ context, flags: FLAGS, revision });
        expect([status, body.revision, body.now]).toEqual([200, revision, at]);
        const answered = body.answers.map(({ explanation }: { explanation: unknown }) => explanation);
        expect([revision, index, answered]).toEqual([revision, index, explanations[index]]);
        expect(body.answers.map(({ result }: { result: unknown }) => result)).toEqual(
          answered.map(({ result }: { result: unknown }) => result),
        );
      }
    }
  });

  test('the answers really differ from revision to revision', () => {
    const results = recorded.map(({ explanations }) => JSON.stringify(explanations));
    expect(new Set(results).size).toBeGreaterThan(12);
  });

  test('a time means the revision in force then, and @now is that time', async () => {
    const [context] = CONTEXTS;
    for (const { revision, at } of recorded) {
      const ask = async (time: number) => (await asOf({ context, flags: ['gate'], at: time })).body;
      expect((await ask(at)).revision).toBe(revision);
      expect((await ask(at + 999)).revision).toBe(revision);
      expect((await ask(at - 1)).revision).toBeLessThan(revision);
    }
    const value = async (body: object) =>
      (await asOf({ context, flags: ['timed'], ...body })).body.answers[0].result.value;
    expect(await value({ revision: recorded[13]?.revision })).toBe(true);
    // Both lie in the second of one revision.
    expect(await value({ at: 1_700_000_020_400 })).toBe(true);
    expect(await value({ at: 1_700_000_020_900 })).toBe(false);
    expect(codeOf(await asOf({ context, at: 1 }))).toEqual([404, 'not-found']);
  });

  test('all flags are answered without being named', async () => {
    const [context] = CONTEXTS;
    const { body } = await asOf({ context, revision: recorded[13]?.revision });
    expect(body.answers.map(({ flag }: { flag: string }) => flag)).toEqual(['base', 'gate', 'timed']);
    expect(body.answers[0].explanation).toBeUndefined();
    const last = await asOf({ context, at: now });
    expect(last.body.answers.map(({ flag }: { flag: string }) => flag)).toEqual(['gate', 'timed']);
  });

  test('what cannot be asked is refused', async () => {
    const context = { targetingKey: 'u' };
    for (const body of [
      { context },
      { context, revision: 1, at: 2 },
      { context, revision: 1, flags: [] },
      { context, revision: 0 },
    ]) {
      expect([body, (await asOf(body)).status]).toEqual([body, 422]);
    }
    expect(codeOf(await asOf({ context: { targetingKey: 'x'.repeat(33_000) }, revision: 1 }))).toEqual([
      422,
      'limit-exceeded',
    ]);
    expect(codeOf(await asOf({ context, revision: 10_000 }))).toEqual([404, 'not-found']);
  });

  test('is not for viewers, but for editors', async () => {
    for (const [role, status] of [
      ['viewer', 403],
      ['editor', 200],
    ] as const) {
      const { body } = await plane.must('POST', `${acme.tenant}/admin-credentials`, {
        body: { name: role, roles: [role] },
      });
      const context = { targetingKey: 'u' };
      expect((await asOf({ context, flags: ['gate'], revision: 3 }, body.token)).status).toBe(status);
      expect((await bisect({ context, flag: 'gate' }, body.token)).status).toBe(status);
    }
  });

  test('bisect finds every revision at which the answer became another, and no other', async () => {
    for (const [index, context] of CONTEXTS.entries()) {
      for (const [flagIndex, flag] of FLAGS.entries()) {
        if (flag === 'timed') continue;
        // What was recorded, result by result: `@now` plays no part in these flags.
        const results = recorded.map(({ revision, explanations }) => ({
          revision,
          result: (explanations[index] as { result: unknown }[])[flagIndex]?.result,
        }));
        const expected = results.flatMap(({ revision, result }, at) => {
          const before = results[at - 1]?.result;
          return at > 0 && JSON.stringify(before) !== JSON.stringify(result)
            ? [{ revision, before, after: result }]
            : [];
        });
        const { status, body } = await bisect({ context, flag, from: recorded[0]?.revision });
        expect([status, body.nextFrom]).toEqual([200, null]);
        expect([index, flag, body.changes]).toEqual([index, flag, expected.map((one) => expect.objectContaining(one))]);
        expect(body.first).toEqual(results[0]?.result);
      }
    }
  });

  test('bisect tells who and why, evaluates only where something changed, and holds @now still', async () => {
    const [context] = CONTEXTS;
    const { body } = await bisect({ context, flag: 'timed' });
    expect(body.changes).toHaveLength(1);
    expect(body.changes[0]).toMatchObject({
      revision: recorded[13]?.revision,
      isValueChanged: true,
      before: { errorCode: 'FLAG_NOT_FOUND' },
    });
    expect(body.evaluatedCount).toBe(2);
    const row = (await plane.must('GET', `${acme.prod.path}/revisions/${body.changes[0].revision}`)).body;
    expect(body.changes[0]).toMatchObject({
      summary: row.summary,
      actorName: row.actorName,
      auditSequence: row.auditSequence,
    });
    expect((await bisect({ context, flag: 'timed', now: 1 })).body.changes[0].after.value).toBe(true);
    expect((await bisect({ context, flag: 'timed', now: 1_800_000_000_000 })).body.changes[0].after.value).toBe(false);
    const toggles = await bisect({ context, flag: 'gate', from: recorded[18]?.revision, to: recorded[20]?.revision });
    expect(toggles.body.changes.map(({ revision }: { revision: number }) => revision)).toEqual([
      recorded[19]?.revision,
      recorded[20]?.revision,
    ]);
    expect(codeOf(await bisect({ context, flag: 'gate', from: 5, to: 4 }))).toEqual([422, 'validation-failed']);
    expect(codeOf(await bisect({ context, flag: 'gate', to: 10_000 }))).toEqual([404, 'not-found']);
  });
});

test('what is let go answers 410 with the oldest revision that is kept; the rest answers on', async () => {
  const short = await TestControlPlane.start({ historyRetention: { revisions: 5, ageMs: 0 }, now: () => now });
  const seed = await short.seed();
  await short.must('POST', `${seed.project}/flags`, { body: booleanFlag('gate') });
  for (let count = 0; count < 10; count += 1) {
    now += 1_000;
    const path = `${seed.prod.path}/flags/gate/targeting`;
    const { headers } = await short.must('GET', path);
    await short.must('PATCH', path, { body: { on: count % 2 === 0 }, headers: { 'if-match': headers.etag ?? '' } });
  }
  const at = `${seed.prod.path}/revisions`;
  const context = { targetingKey: 'u' };
  const post = (path: string, body: object) =>
    short.call('POST', `${seed.prod.path}/${path}`, { body, headers: { 'if-match': '"12"' } });
  const gone = [
    await short.call('GET', `${at}/7/flags`),
    await short.call('GET', `${at}/7/flags/gate`),
    await short.call('GET', `${at}/7/diff?with=12`),
    await short.call('GET', `${at}/12/diff?with=7`),
    await post('revisions/7/restore', {}),
    await post('evaluate-as-of', { context, revision: 7 }),
    await post('evaluate-as-of', { context, at: now - 100_000 }),
    await post('bisect', { context, flag: 'gate', from: 7 }),
  ];
  expect(gone.map(({ status, body }) => [status, body.code, body.oldestRevision])).toEqual(
    gone.map(() => [410, 'revision-gone', 8]),
  );
  expect((await short.must('GET', `${at}/7`)).body).toMatchObject({
    isKept: false,
    sentences: null,
    summary: expect.stringContaining('gate'),
  });
  expect((await short.must('GET', `${at}/8`)).body).toMatchObject({ isKept: true, sentences: null });
  expect((await short.must('GET', `${at}/9`)).body.sentences).toHaveLength(1);
  expect((await short.must('GET', `${at}/8/flags`)).body.items).toHaveLength(1);
  expect((await short.must('GET', `${at}?limit=100`)).body.items).toHaveLength(12);
  expect((await post('evaluate-as-of', { context, revision: 8 })).status).toBe(200);
  const { body } = await post('bisect', { context, flag: 'gate' });
  expect(body.changes.map(({ revision }: { revision: number }) => revision)).toEqual([9, 10, 11, 12]);
  expect((await post('revisions/8/restore', {})).status).toBe(200);
  await short.dispose();
});
