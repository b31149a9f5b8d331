import { AUDIT_ENTRY_BYTES_MAX } from '@guidon/control-plane/audit/audit-entry.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, type Seed, TestControlPlane } from '../support/control-plane.js';

let plane: TestControlPlane;
let acme: Seed;

beforeAll(async () => {
  plane = await TestControlPlane.start();
  acme = await plane.seed('acme');
  for (const key of ['gate', 'other', 'third']) {
    await plane.must('POST', `${acme.project}/flags`, { body: { key, type: 'boolean' } });
  }
  await plane.must('POST', `${acme.dev.path}/segments`, { body: { key: 'beta', included: [{ keys: ['u1', 'u2'] }] } });
});
afterAll(() => plane.dispose());

const targetingPath = (key: string, environment: string): string =>
  `${acme.project}/environments/${environment}/flags/${key}/targeting`;
const pointersOf = ({ body }: Answer): string[] => body.errors.map(({ pointer }: { pointer: string }) => pointer);
const revisionOf = async (environment: string): Promise<number> =>
  (await plane.must('GET', targetingPath('gate', environment))).body.revision;

async function edit(
  method: string,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const { headers: read } = await plane.must('GET', path);
  return plane.call(method, path, { body, headers: { 'if-match': String(read.etag), ...headers } });
}

describe('PATCH and PUT of a targeting', () => {
  test('an edit raises its own environment alone and answers with the new revision', async () => {
    const [dev, prod] = await Promise.all([revisionOf('dev'), revisionOf('prod')]);
    const answer = await edit('PATCH', targetingPath('gate', 'dev'), { on: true });
    expect(answer.body).toMatchObject({ flag: 'gate', environment: 'dev', on: true, version: 2, revision: dev + 1 });
    expect(answer.headers.etag).toBe('"2"');
    expect(await revisionOf('prod')).toBe(prod);
  });

  test('a member called __proto__ is refused like any other that is not known (2.1)', async () => {
    const answer = await edit('PATCH', targetingPath('gate', 'dev'), JSON.parse('{"__proto__": {"on": false}}'));
    expect(answer).toMatchObject({ status: 422, body: { errors: [{ pointer: '/__proto__' }] } });
  });

  test('an edit of a name alone raises nothing', async () => {
    const rule = { id: 'r', when: { all: [] }, serve: { variation: 'on' } };
    await edit('PATCH', targetingPath('gate', 'dev'), { rules: [rule] });
    const revision = await revisionOf('dev');
    const answer = await edit('PATCH', targetingPath('gate', 'dev'), { rules: [{ ...rule, name: 'Everybody' }] });
    expect(answer.body).toMatchObject({ rules: [{ name: 'Everybody' }], revision });
  });

  test('a merge patch swaps the fallthrough between variation and rollout; members of it can be edited', async () => {
    const weights = [
      { variation: 'on', weight: 20_000 },
      { variation: 'off', weight: 80_000 },
    ];
    const split = await edit('PATCH', targetingPath('other', 'dev'), { fallthrough: { rollout: { weights } } });
    expect([split.status, split.body.fallthrough]).toEqual([200, { rollout: { weights } }]);
    const seeded = await edit('PATCH', targetingPath('other', 'dev'), { fallthrough: { rollout: { seed: 's' } } });
    expect(seeded.body.fallthrough).toEqual({ rollout: { weights, seed: 's' } });
    const back = await edit('PATCH', targetingPath('other', 'dev'), { fallthrough: { variation: 'off' } });
    expect(back.body.fallthrough).toEqual({ variation: 'off' });
  });

  test('PUT takes a whole targeting and nothing else; the salt stays', async () => {
    const { body: before } = await plane.must('GET', targetingPath('third', 'dev'));
    const { flag, environment, salt, updatedAt, version, revision, ...targeting } = before;
    expect([flag, environment, version, typeof updatedAt, typeof revision]).toEqual([
      'third',
      'dev',
      1,
      'number',
      'number',
    ]);
    const withSalt = await edit('PUT', targetingPath('third', 'dev'), { ...targeting, salt: 'mine', revision: 1 });
    expect([withSalt.status, pointersOf(withSalt).sort()]).toEqual([422, ['/revision', '/salt']]);
    const { rules: _, ...partial } = targeting;
    expect(pointersOf(await edit('PUT', targetingPath('third', 'dev'), partial))).toEqual(['/rules']);
    const put = await edit('PUT', targetingPath('third', 'dev'), { ...targeting, on: true });
    expect(put.body).toMatchObject({ on: true, salt });
    expect((await edit('PATCH', targetingPath('third', 'dev'), { salt: 'mine' })).status).toBe(422);
  });

  const clause = { attribute: 'a', op: 'in', values: ['x'] };
  const refused: [string, Record<string, unknown>, string, string[]][] = [
    ['an unknown variation', { offVariation: 'maybe' }, 'dangling-reference', ['/offVariation']],
    [
      'a missing prerequisite and a missing variation of one that is there',
      {
        prerequisites: [
          { flag: 'nope', variations: ['on'] },
          { flag: 'other', variations: ['maybe'] },
        ],
      },
      'dangling-reference',
      ['/prerequisites/1/variations/0', '/prerequisites/0/flag'],
    ],
    [
      'itself as prerequisite',
      { prerequisites: [{ flag: 'gate', variations: ['on'] }] },
      'reference-cycle',
      ['/prerequisites'],
    ],
    [
      'a missing segment',
      { rules: [{ id: 'r', when: { not: { segment: ['beta', 'nope'] } }, serve: { variation: 'on' } }] },
      'dangling-reference',
      ['/rules/0/when/not/segment/1'],
    ],
    [
      'an unknown operator',
      { rules: [{ id: 'r', when: { ...clause, op: 'like' }, serve: { variation: 'on' } }] },
      'validation-failed',
      ['/rules/0/when/op'],
    ],
    [
      'a pattern that RE2 does not take',
      { rules: [{ id: 'r', when: { ...clause, op: 'matches', values: ['(?=x)'] }, serve: { variation: 'on' } }] },
      'unsafe-regex',
      ['/rules/0/when/values/0'],
    ],
    [
      'one key for two variations',
      {
        targets: [
          { contextKind: 'user', variation: 'on', keys: ['u'] },
          { contextKind: 'user', variation: 'off', keys: ['u'] },
        ],
      },
      'validation-failed',
      ['/targets/1/keys/0'],
    ],
    [
      'more rules than a flag may have',
      {
        rules: Array.from({ length: 201 }, (_, index) => ({
          id: `r${index}`,
          when: { all: [] },
          serve: { variation: 'on' },
        })),
      },
      'limit-exceeded',
      ['/rules'],
    ],
  ];
  test.each(refused)('%s is refused with a pointer into the targeting', async (_name, patch, code, pointers) => {
    const revision = await revisionOf('dev');
    const answer = await edit('PATCH', targetingPath('gate', 'dev'), patch);
    expect([answer.status, answer.body.code, pointersOf(answer)]).toEqual([422, code, pointers]);
    expect(await revisionOf('dev')).toBe(revision);
  });

  test('a cycle over two flags is refused when it closes', async () => {
    expect(
      (await edit('PATCH', targetingPath('gate', 'prod'), { prerequisites: [{ flag: 'other', variations: ['on'] }] }))
        .status,
    ).toBe(200);
    const closing = await edit('PATCH', targetingPath('other', 'prod'), {
      prerequisites: [{ flag: 'gate', variations: ['on'] }],
    });
    expect([closing.status, closing.body.code]).toEqual([422, 'reference-cycle']);
  });

  test('a dry run tells in words, as a diff and in compiled definitions, and changes nothing', async () => {
    const revision = await revisionOf('dev');
    const answer = await edit(
      'PATCH',
      `${targetingPath('third', 'dev')}?dryRun=true`.replace('?dryRun=true', ''),
      { on: false },
      {},
    );
    expect(answer.status).toBe(200);
    const { headers } = await plane.must('GET', targetingPath('third', 'dev'));
    const dry = await plane.call('PATCH', `${targetingPath('third', 'dev')}?dryRun=true`, {
      body: { on: true, fallthrough: { variation: 'off' } },
      headers: { 'if-match': String(headers.etag) },
    });
    expect(dry.body).toMatchObject({
      dryRun: true,
      summary: 'flag third in dev: turned on; fallthrough serves off instead of on',
      environments: [{ revision: revision + 2, changedDefinitions: 1, issues: [] }],
    });
    expect(dry.body.diff).toContainEqual({ op: 'replace', pointer: '/on', before: false, after: true });
    expect(await revisionOf('dev')).toBe(revision + 1);
  });

  test('the comment goes into the audit entry, decoded', async () => {
    const headers = { 'x-guidon-comment': encodeURIComponent('für den Start 🚀') };
    expect((await edit('PATCH', targetingPath('third', 'prod'), { on: true }, headers)).status).toBe(200);
    expect(
      (await edit('PATCH', targetingPath('third', 'prod'), { on: true }, { 'x-guidon-comment': '%zz' })).status,
    ).toBe(400);
    const audit = await plane.must('GET', `${acme.tenant}/audit?limit=1`);
    expect(audit.text).toContain('für den Start 🚀');
    expect(audit.text).toContain('flag third in prod: turned on');
  });

  test('an edit that takes many words is kept in few: the audit entry is bounded', async () => {
    const long = `/${'é'.repeat(16_000)}`;
    const weights = [{ variation: 'on', weight: 100_000 }];
    const rules = Array.from({ length: 30 }, (_, index) => ({
      id: `long-${index}`,
      when: { all: [] },
      serve: { rollout: { weights, bucketBy: index === 0 ? long : 'id' } },
    }));
    expect((await edit('PATCH', targetingPath('other', 'prod'), { prerequisites: [], rules })).status).toBe(200);
    const { body } = await plane.must('GET', `${acme.tenant}/audit?limit=1`);
    const [entry] = body.items;
    expect(entry.summary).toContain('and 10 more changes');
    expect(entry.summary.length).toBeLessThan(4_096);
    // The first rule alone is longer than a diff may be.
    expect(entry.diffOmitted).toBeGreaterThan(0);
    expect(Buffer.byteLength(entry.text)).toBeLessThan(AUDIT_ENTRY_BYTES_MAX);
  });

  test('of 10 parallel edits with one ETag exactly one wins (I5), and revisions have no gap (I2)', async () => {
    const path = targetingPath('gate', 'prod');
    const before = await plane.must('GET', path);
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        plane.call('PATCH', path, {
          body: { targets: [{ contextKind: 'user', variation: 'on', keys: [`u${index}`] }] },
          headers: { 'if-match': String(before.headers.etag) },
        }),
      ),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 412)).toHaveLength(9);
    expect(await revisionOf('prod')).toBe(before.body.revision + 1);
  });

  test('edits of different flags in one environment all get through, each its own revision', async () => {
    const before = await revisionOf('dev');
    const keys = ['gate', 'other', 'third'];
    const answers = await Promise.all(
      keys.map((key) =>
        edit('PATCH', targetingPath(key, 'dev'), {
          targets: [{ contextKind: 'user', variation: 'on', keys: [`${before}`] }],
        }),
      ),
    );
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(answers.map(({ body }) => body.revision).sort((a, b) => a - b)).toEqual([
      before + 1,
      before + 2,
      before + 3,
    ]);
  });
});

describe('POST …/changes', () => {
  const changes = (body: unknown, revision: number): Promise<Answer> =>
    plane.call('POST', `${acme.dev.path}/changes`, { body, headers: { 'if-match': `"${revision}"` } });

  test('many edits are one revision; later ones see earlier ones', async () => {
    const before = await revisionOf('dev');
    const answer = await changes(
      {
        changes: [
          { op: 'targeting.patch', flag: 'gate', patch: { on: false } },
          { op: 'targeting.patch', flag: 'gate', patch: { offVariation: 'on' } },
          { op: 'segment.patch', segment: 'beta', patch: { name: 'Beta testers', rules: [{ when: { all: [] } }] } },
          { op: 'segment.keys', segment: 'beta', add: ['u3'], remove: ['u1'] },
          { op: 'segment.keys', segment: 'beta', add: ['u4'] },
          {
            op: 'targeting.patch',
            flag: 'other',
            patch: { rules: [{ id: 'beta', when: { segment: ['beta'] }, serve: { variation: 'on' } }] },
          },
        ],
      },
      before,
    );
    expect([answer.status, answer.body.revision, answer.headers.etag]).toEqual([200, before + 1, `"${before + 1}"`]);
    expect(answer.body.summary).toContain('gate turned off');
    expect(answer.body.summary).toContain('1 key added to and 1 key removed from those included for kind user');
    const gate = await plane.must('GET', targetingPath('gate', 'dev'));
    expect(gate.body).toMatchObject({ on: false, offVariation: 'on', version: answer.body.targetings.gate.version });
    const keys = await plane.must('GET', `${acme.dev.path}/segments/beta/keys`);
    expect(keys.body.items.sort()).toEqual(['u2', 'u3', 'u4']);
    expect((await plane.must('GET', `${acme.dev.path}/segments/beta`)).body).toMatchObject({
      name: 'Beta testers',
      keyCounts: [{ count: 3 }],
    });
  });

  test('one bad edit refuses all of them, with every issue at its place', async () => {
    const before = await revisionOf('dev');
    const answer = await changes(
      {
        changes: [
          { op: 'targeting.patch', flag: 'gate', patch: { on: true } },
          { op: 'targeting.patch', flag: 'gate', patch: { offVariation: 'maybe' } },
          { op: 'targeting.patch', flag: 'nope', patch: { on: true } },
          { op: 'segment.keys', segment: 'nope', add: ['u'] },
          { op: 'segment.keys', segment: 'beta', add: ['u', ''] },
          { op: 'segment.patch', segment: 'beta', patch: { rules: [{ when: { op: 'in' } }], salt: 's' } },
        ],
      },
      before,
    );
    expect([answer.status, pointersOf(answer)]).toEqual([
      422,
      [
        '/changes/1/patch/offVariation',
        '/changes/2/flag',
        '/changes/3/segment',
        '/changes/4/add/1',
        '/changes/5/patch/salt',
      ],
    ]);
    expect(await revisionOf('dev')).toBe(before);
    expect((await plane.must('GET', targetingPath('gate', 'dev'))).body.on).toBe(false);
  });

  test('what only the whole environment shows points into the body too', async () => {
    const before = await revisionOf('dev');
    const cycle = await changes(
      {
        changes: [
          { op: 'targeting.patch', flag: 'gate', patch: { prerequisites: [{ flag: 'third', variations: ['on'] }] } },
          { op: 'targeting.patch', flag: 'third', patch: { prerequisites: [{ flag: 'gate', variations: ['on'] }] } },
        ],
      },
      before,
    );
    expect([cycle.status, cycle.body.code, pointersOf(cycle)]).toEqual([
      422,
      'reference-cycle',
      ['/changes/0/patch/prerequisites'],
    ]);
    const segment = await changes(
      { changes: [{ op: 'segment.patch', segment: 'beta', patch: { rules: [{ when: { segment: ['gone'] } }] } }] },
      before,
    );
    expect(pointersOf(segment)).toEqual(['/changes/0/patch/rules/0/when/segment/0']);
  });

  test('If-Match is the revision: missing 428, behind 412; form errors point into changes', async () => {
    const revision = await revisionOf('dev');
    const body = { changes: [{ op: 'targeting.patch', flag: 'gate', patch: { on: true } }] };
    expect((await plane.call('POST', `${acme.dev.path}/changes`, { body })).status).toBe(428);
    expect((await changes(body, revision - 1)).status).toBe(412);
    expect((await changes({ changes: [] }, revision)).status).toBe(422);
    const unknown = await changes({ changes: [{ op: 'flag.delete', flag: 'gate' }] }, revision);
    expect([unknown.status, pointersOf(unknown)]).toEqual([422, ['/changes/0/op']]);
    const many = await changes(
      {
        changes: [
          { op: 'segment.keys', segment: 'beta', add: Array.from({ length: 10_001 }, (_, index) => `k${index}`) },
        ],
      },
      revision,
    );
    expect([many.status, many.body.code]).toEqual([422, 'limit-exceeded']);
    expect(await revisionOf('dev')).toBe(revision);
  });
});
