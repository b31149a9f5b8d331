import { decodeDefinition, definitionKey, type FlagSet, ReferenceEvaluation } from '@guidon/engine';
import { decodeConfigMessage } from '@guidon/protocol/msgpack';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, booleanFlag, type Seed, TestControlPlane } from '../support/control-plane.js';

let plane: TestControlPlane;
let acme: Seed;
let node: string;
const tokens: Record<string, string> = {};

beforeAll(async () => {
  plane = await TestControlPlane.start();
  acme = await plane.seed();
  node = await plane.running.issueNodeCredential('node');
  for (const role of ['viewer', 'editor']) {
    const { body } = await plane.must('POST', `${acme.tenant}/admin-credentials`, {
      body: { name: role, roles: [role] },
    });
    tokens[role] = body.token;
  }
});
afterAll(() => plane.dispose());

const environment = () => acme.prod.path;
const revisions = () => `${environment()}/revisions`;
const revisionNow = async (): Promise<number> => (await plane.must('GET', environment())).body.revision;

/** A change with the ETag of now; answers the revision it made. */
async function edit(method: string, path: string, body: unknown, comment = ''): Promise<number> {
  const { headers } = await plane.must('GET', path);
  await plane.must(method, path, {
    body,
    headers: {
      'if-match': headers.etag ?? '',
      'content-type': method === 'PATCH' ? 'application/merge-patch+json' : 'application/json',
      'x-guidon-comment': encodeURIComponent(comment),
    },
  });
  return revisionNow();
}

const target = (flag: string, patch: object, comment?: string) =>
  edit('PATCH', `${environment()}/flags/${flag}/targeting`, patch, comment);

async function newFlag(key: string, initial: object = {}): Promise<number> {
  await plane.must('POST', `${acme.project}/flags`, {
    body: { ...booleanFlag(key), initialTargeting: { prod: { on: true, ...initial } } },
  });
  return revisionNow();
}

async function archive(path: string, verb = 'archive'): Promise<number> {
  const { headers } = await plane.must('GET', path);
  await plane.must('POST', `${path}/${verb}`, { headers: { 'if-match': headers.etag ?? '' } });
  return revisionNow();
}

/** What a node is given now. */
async function servedNow(): Promise<FlagSet> {
  const { bytes } = await plane.must('GET', `/internal/v1/environments/${acme.prod.id}/config`, { token: node });
  const set = { flags: new Map(), segments: new Map(), segmentKeys: new Map() };
  for (const one of decodeConfigMessage(bytes).delta?.changed ?? []) {
    const { value } = decodeDefinition(one) as { value: { kind: string } & Parameters<typeof definitionKey>[0] };
    const map = { flag: set.flags, segment: set.segments, 'segment-keys': set.segmentKeys }[value.kind];
    map.set(definitionKey(value), value);
  }
  return set;
}

const NOW = 1_700_000_000_000;
/** What 1 000 users get of some flags. */
function answersOf(set: FlagSet, flags: readonly string[]): unknown[] {
  return Array.from({ length: 1_000 }, (_, index) => {
    const evaluation = new ReferenceEvaluation(set, { targetingKey: `user-${index}` }, { now: NOW });
    return flags.map((flag) => evaluation.evaluate(flag));
  });
}

const restore = async (revision: number, body: object = {}, query = ''): Promise<Answer> =>
  plane.call('POST', `${revisions()}/${revision}/restore${query}`, {
    body,
    headers: { 'if-match': `"${await revisionNow()}"` },
  });

const codeOf = ({ status, body }: Answer) => [status, body.code];

describe('a revision', () => {
  test('shows who made it, when, why, what changed in sentences, and the manifest as it was signed', async () => {
    const made = await newFlag('shown');
    const revision = await target('shown', { on: false, fallthrough: { variation: 'off' } }, 'für Prüfung');
    const { body } = await plane.must('GET', `${revisions()}/${revision}`, { token: tokens.viewer ?? null });
    expect(body).toMatchObject({
      revision,
      action: 'targeting.update',
      comment: 'für Prüfung',
      actor: { kind: 'system' },
      isKept: true,
      sentences: ['flag shown: turned off', 'flag shown: fallthrough serves off instead of on'],
      changed: [{ kind: 'flag', key: 'shown' }],
      removed: [],
    });
    expect(JSON.parse(body.manifest)).toMatchObject({ revision, environmentId: acme.prod.id });
    expect((await plane.must('GET', `${revisions()}/${made}`)).body.sentences).toEqual(['flag shown added']);
    expect((await plane.must('GET', `${revisions()}/1`)).body).toMatchObject({ revision: 1, sentences: [] });
    const audit = await plane.must('GET', `${acme.tenant}/audit?limit=1`);
    expect(body.auditSequence).toBe(audit.body.items[0].sequence);
  });

  test('has the flags as they were served then', async () => {
    const made = await newFlag('then');
    await target('then', { on: false });
    await archive(`${acme.project}/flags/then`);
    const flag = (revision: number) => plane.call('GET', `${revisions()}/${revision}/flags/then`);
    expect((await flag(made)).body.definition).toMatchObject({ kind: 'flag', key: 'then', on: true });
    expect((await flag(made + 1)).body.definition.on).toBe(false);
    expect(codeOf(await flag(made + 2))).toEqual([404, 'not-found']);
    expect(codeOf(await flag(made - 1))).toEqual([404, 'not-found']);
    const list = async (revision: number, query = ''): Promise<Answer> =>
      plane.must('GET', `${revisions()}/${revision}/flags${query}`);
    const keysOf = ({ body }: Answer) => body.items.map(({ key, on }: { key: string; on: boolean }) => [key, on]);
    expect(keysOf(await list(made))).toEqual([
      ['shown', false],
      ['then', true],
    ]);
    expect(keysOf(await list(made + 2))).toEqual([['shown', false]]);
    const first = await list(made, '?limit=1');
    expect(keysOf(first)).toEqual([['shown', false]]);
    expect(keysOf(await list(made, `?cursor=${first.body.nextCursor}`))).toEqual([['then', true]]);
  });

  test('that was never made is not found; a number that is none is refused', async () => {
    const next = (await revisionNow()) + 1;
    for (const path of [
      `${next}`,
      `${next}/flags`,
      `${next}/flags/shown`,
      `${next}/diff?with=1`,
      `1/diff?with=${next}`,
    ]) {
      expect([path, ...codeOf(await plane.call('GET', `${revisions()}/${path}`))]).toEqual([path, 404, 'not-found']);
    }
    for (const path of ['0', 'x', '1.5', '1/diff', '1/diff?with=0']) {
      expect([path, (await plane.call('GET', `${revisions()}/${path}`)).status]).toEqual([path, 422]);
    }
  });
});

describe('two revisions', () => {
  test('are compared in sentences and JSON, either way round', async () => {
    const from = await newFlag('compared');
    await plane.must('POST', `${environment()}/segments`, {
      body: { key: 'vips', included: [{ keys: ['a', 'b', 'c'] }] },
    });
    await plane.must('POST', `${environment()}/segments/vips/keys`, { body: { add: ['d'], remove: ['a'] } });
    await edit('PATCH', `${acme.project}/flags/compared`, { clientSide: true });
    await target('compared', { rules: [{ id: 'r', when: { segment: ['vips'] }, serve: { variation: 'on' } }] });
    const middle = await revisionNow();
    await target('compared', { on: false });
    await newFlag('later');
    const to = await target('compared', { on: true });
    const diff = async (one: number, other: number) =>
      (await plane.must('GET', `${revisions()}/${one}/diff?with=${other}`)).body;
    const forth = await diff(from, to);
    expect(forth).toMatchObject({
      from,
      to,
      added: [
        { kind: 'flag', key: 'later' },
        { kind: 'segment', key: 'vips' },
      ],
      removed: [],
      changedOmitted: [],
    });
    expect(forth.sentences).toEqual([
      'flag later added',
      'segment vips added',
      'flag compared: visible to client keys',
      'flag compared: rule r added at position 1, serves on',
      'segment vips, keys included for kind user: 3 added, 0 removed',
    ]);
    expect(forth.changed).toHaveLength(1);
    expect(forth.changed[0].diff).toEqual(
      expect.arrayContaining([{ op: 'replace', pointer: '/clientSide', before: false, after: true }]),
    );
    const back = await diff(to, from);
    expect(back.removed).toEqual(forth.added);
    expect(back.sentences).toContain('flag compared: rule r removed');
    expect(back.sentences).toContain('segment vips, keys included for kind user: 0 added, 3 removed');
    // Off and on again is no difference.
    expect((await diff(middle, to)).sentences).toEqual(['flag later added']);
    expect(await diff(to, to)).toMatchObject({ sentences: [], added: [], removed: [], changed: [] });
    const keys = await diff(from + 1, from + 2);
    expect(keys.sentences).toEqual(['segment vips, keys included for kind user: 1 added, 1 removed']);
  });
});

describe('a restore', () => {
  const half = (seed?: string) => ({
    rollout: {
      weights: [
        { variation: 'on', weight: 50_000 },
        { variation: 'off', weight: 50_000 },
      ],
      ...(seed === undefined ? {} : { seed }),
    },
  });

  test('of everything serves what was served, bucket by bucket, as a new revision', async () => {
    await newFlag('gate', { fallthrough: half() });
    await newFlag('seeded', { fallthrough: half('spring') });
    await plane.must('POST', `${environment()}/segments`, {
      body: {
        key: 'beta',
        rules: [{ when: { attribute: 'targetingKey', op: 'endsWith', values: ['7'] }, rollout: { weight: 40_000 } }],
        included: [{ keys: Array.from({ length: 9_000 }, (_, index) => `user-${index * 3}`) }],
      },
    });
    const then = await target('gate', {
      rules: [{ id: 'r', name: 'Beta', when: { segment: ['beta'] }, serve: half('beta') }],
    });
    const [flags, setThen] = [['gate', 'seeded', 'shown'], await servedNow()];
    const answersThen = answersOf(setThen, flags);

    await target('gate', { on: true, rules: [], fallthrough: { variation: 'off' } });
    await target('seeded', { fallthrough: half('autumn') });
    const keys = Array.from({ length: 6_000 }, (_, index) => `user-${index * 3}`);
    await plane.must('POST', `${environment()}/segments/beta/keys`, { body: { remove: keys, add: ['other'] } });
    await edit('PATCH', `${environment()}/segments/beta`, { rules: [] });
    const before = await revisionNow();
    expect(answersOf(await servedNow(), flags)).not.toEqual(answersThen);

    const dry = await restore(then, {}, '?dryRun=true');
    expect([dry.status, dry.body.dryRun, dry.body.environments[0].revision]).toEqual([200, true, before + 1]);
    expect(await revisionNow()).toBe(before);

    const { status, body, headers } = await restore(then);
    expect([status, body.revision, headers.etag]).toEqual([200, before + 1, `"${before + 1}"`]);
    expect(body.restored).toEqual({ flags: ['gate', 'seeded'], segments: ['beta'] });
    expect(body.notRestored).toEqual([]);
    const setNow = await servedNow();
    expect(answersOf(setNow, flags)).toEqual(answersThen);
    expect(setNow).toEqual(setThen);
    const segment = await plane.must('GET', `${environment()}/segments/beta`);
    expect(segment.body.keyCounts).toEqual([{ list: 'included', contextKind: 'user', count: 9_000 }]);
    const compared = await plane.must('GET', `${revisions()}/${then}/diff?with=${before + 1}`);
    expect(compared.body).toMatchObject({ sentences: [], added: [], removed: [], changed: [] });
    // Nothing differs now: no revision.
    expect((await restore(then)).body).toMatchObject({ revision: before + 1, restored: { flags: [], segments: [] } });
    const { body: log } = await plane.must('GET', `${acme.tenant}/audit?limit=2`);
    expect(log.items[1]).toMatchObject({
      action: 'environment.change',
      summary: expect.stringContaining(`restored to ${then}: `),
    });
  });

  test('of one flag leaves the others; the name of a rule that is still there stays', async () => {
    const then = await target('gate', {
      rules: [{ id: 'r', name: 'Named', when: { attribute: 'a', op: 'exists', values: [true] }, serve: half() }],
    });
    await target('gate', {
      rules: [{ id: 'r', name: 'Other', when: { attribute: 'b', op: 'exists', values: [true] }, serve: half() }],
    });
    await target('seeded', { on: false });
    const { body } = await restore(then, { flagKey: 'gate' });
    expect([body.restored, body.notRestored]).toEqual([{ flags: ['gate'], segments: [] }, []]);
    const gate = await plane.must('GET', `${environment()}/flags/gate/targeting`);
    expect(gate.body.rules[0]).toMatchObject({ name: 'Other', when: { attribute: 'a' } });
    expect((await plane.must('GET', `${environment()}/flags/seeded/targeting`)).body.on).toBe(false);
    expect(body.summary).toBe(`flag gate in environment prod restored to ${then}: gate condition of rule r changed`);
  });

  test('brings back nothing archived, deleted or newer, and says so', async () => {
    for (const key of ['stays', 'archived', 'deleted', 'again', 'valued']) await newFlag(key);
    for (const key of ['seg-archived', 'seg-deleted'])
      await plane.must('POST', `${environment()}/segments`, { body: { key } });
    const then = await target('stays', { offVariation: 'on' });
    await target('stays', { offVariation: 'off' });
    await archive(`${acme.project}/flags/archived`);
    for (const path of [
      `${acme.project}/flags/deleted`,
      `${acme.project}/flags/again`,
      `${environment()}/segments/seg-deleted`,
    ]) {
      await archive(path);
      const { headers } = await plane.must('GET', path);
      await plane.must('DELETE', `${path}?force=true`, { headers: { 'if-match': headers.etag ?? '' } });
    }
    await newFlag('again', { on: false });
    await newFlag('young');
    await archive(`${environment()}/segments/seg-archived`);
    await edit('PATCH', `${acme.project}/flags/valued`, { clientSide: true });
    const { status, body } = await restore(then);
    expect([status, body.restored]).toEqual([200, { flags: ['stays'], segments: [] }]);
    expect(body.notRestored).toEqual([
      { kind: 'flag', key: 'again', reason: 'key-used-again' },
      { kind: 'flag', key: 'archived', reason: 'archived' },
      { kind: 'flag', key: 'deleted', reason: 'deleted' },
      { kind: 'flag', key: 'valued', reason: 'shared' },
      { kind: 'flag', key: 'young', reason: 'newer' },
      { kind: 'segment', key: 'seg-archived', reason: 'archived' },
      { kind: 'segment', key: 'seg-deleted', reason: 'deleted' },
    ]);
    expect((await plane.must('GET', `${acme.project}/flags/valued`)).body.clientSide).toBe(true);
    const one = async (flagKey: string) => codeOf(await restore(then, { flagKey }));
    expect(await one('archived')).toEqual([409, 'conflict']);
    expect(await one('again')).toEqual([409, 'conflict']);
    expect(await one('deleted')).toEqual([422, 'dangling-reference']);
    expect(await one('young')).toEqual([422, 'dangling-reference']);
    expect(await one('valued')).toEqual([200, undefined]);
  });

  test('is refused with pointers when the old targeting names what is gone', async () => {
    await plane.must('POST', `${acme.project}/flags`, {
      body: {
        key: 'three',
        type: 'string',
        variations: ['a', 'b', 'c'].map((key) => ({ key, value: key })),
        initialTargeting: { dev: { offVariation: 'a' } },
      },
    });
    await plane.must('POST', `${environment()}/segments`, { body: { key: 'gone' } });
    const then = await target('three', {
      offVariation: 'a',
      rules: [{ id: 'r', when: { segment: ['gone'] }, serve: { variation: 'b' } }],
      fallthrough: { variation: 'c' },
    });
    await target('three', { fallthrough: { variation: 'b' } });
    const withoutC = await target('three', { rules: [] });
    await edit('PATCH', `${acme.project}/flags/three`, { variations: ['a', 'b'].map((key) => ({ key, value: key })) });
    const before = await revisionNow();
    const variation = await restore(then);
    expect([variation.status, variation.body.errors[0].pointer]).toEqual([422, '/flags/three/fallthrough/variation']);
    await archive(`${environment()}/segments/gone`);
    const segment = await restore(withoutC - 1, { flagKey: 'three' });
    expect(codeOf(segment)).toEqual([422, 'dangling-reference']);
    expect(segment.body.errors[0].pointer).toBe('/flags/three/rules/0/when/segment/0');
    expect(await revisionNow()).toBe(before + 1);
    expect((await restore(withoutC, { flagKey: 'three' })).status).toBe(200);
  });

  test('asks for the revision in force, and for what the edits ask for', async () => {
    const now = await revisionNow();
    const path = `${revisions()}/${now - 1}/restore`;
    const post = (headers: Record<string, string>, token?: string) =>
      plane.call('POST', path, { body: {}, headers, ...(token === undefined ? {} : { token }) });
    expect(codeOf(await post({}))).toEqual([428, 'precondition-required']);
    expect(codeOf(await post({ 'if-match': `"${now - 1}"` }))).toEqual([412, 'revision-conflict']);
    expect(codeOf(await post({ 'if-match': `"${now}"` }, tokens.viewer))).toEqual([403, 'forbidden']);
    await target('seeded', { on: true });
    await edit('PATCH', environment(), { critical: true });
    const critical = await plane.call('POST', `${revisions()}/${now}/restore`, {
      body: {},
      headers: { 'if-match': `"${await revisionNow()}"` },
      token: tokens.editor ?? null,
    });
    expect([...codeOf(critical), critical.body.detail]).toEqual([
      403,
      'forbidden',
      'the role editor denies environment.serve on project:shop/env:prod',
    ]);
    await edit('PATCH', environment(), { critical: false });
    expect(codeOf(await restore((await revisionNow()) + 1))).toEqual([404, 'not-found']);
  });
});
