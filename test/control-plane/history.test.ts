import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, booleanFlag, type Seed, TestControlPlane } from '../support/control-plane.js';

let plane: TestControlPlane;
let acme: Seed;
const tokens: Record<string, string> = {};

beforeAll(async () => {
  plane = await TestControlPlane.start();
  acme = await plane.seed();
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
