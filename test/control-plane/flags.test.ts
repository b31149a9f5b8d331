import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, type Seed, TestControlPlane } from '../support/control-plane.js';

let plane: TestControlPlane;
let acme: Seed;
let time = Date.now();

beforeAll(async () => {
  plane = await TestControlPlane.start({ now: () => time });
  acme = await plane.seed('acme');
});
afterAll(() => plane.dispose());

const ENVIRONMENTS = ['dev', 'prod'] as const;
const DAY_MS = 24 * 3_600_000;

const flagPath = (key: string): string => `${acme.project}/flags/${key}`;
const targetingPath = (key: string, environment: string): string =>
  `${acme.project}/environments/${environment}/flags/${key}/targeting`;
const create = (body: Record<string, unknown>): Promise<Answer> =>
  plane.must('POST', `${acme.project}/flags`, { body });
const pointersOf = ({ body }: Answer): string[] => body.errors.map(({ pointer }: { pointer: string }) => pointer);

/** A write with the ETag as it is now. */
async function edit(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const readPath = path.replace(/\/(archive|unarchive)$|\?.*$/, '');
  const { headers: read } = await plane.must('GET', readPath);
  return plane.call(method, path, {
    ...(body === undefined ? {} : { body }),
    headers: { 'if-match': String(read.etag), ...headers },
  });
}

async function revisions(): Promise<Record<string, number>> {
  const entries = await Promise.all(
    ENVIRONMENTS.map(async (key) => {
      const { body } = await plane.must('GET', `${acme.project}/environments/${key}/flags?limit=1`);
      return [key, body.revision] as const;
    }),
  );
  return Object.fromEntries(entries);
}

describe('creating a flag', () => {
  test('a key that differs from another in case alone is refused, until that one is gone', async () => {
    const post = (key: string) => plane.call('POST', `${acme.project}/flags`, { body: { key, type: 'boolean' } });
    expect((await post('Same-Word')).status).toBe(201);
    const refused = await post('same-word');
    expect([refused.status, refused.body.errors]).toEqual([
      422,
      [expect.objectContaining({ pointer: '/key', detail: 'it differs from the key Same-Word in case alone' })],
    ]);
    expect((await post('Same-Word')).status).toBe(409);
    const atOnce = await Promise.all(['other-word', 'Other-word', 'OTHER-WORD'].map(post));
    expect(atOnce.map(({ status }) => status).sort((a, b) => a - b)).toEqual([201, 422, 422]);
    expect((await edit('DELETE', `${flagPath('Same-Word')}?force=true`)).status).toBe(200);
    expect((await post('same-word')).status).toBe(201);
    expect((await post('Same-Word')).status).toBe(422);
  });

  test('a boolean flag needs only key and type; every environment has it, off, with a salt of its own', async () => {
    const before = await revisions();
    const answer = await create({ key: 'plain', type: 'boolean' });
    expect(answer.status).toBe(201);
    expect(answer.headers.location).toBe(flagPath('plain'));
    expect(answer.headers.etag).toBe('"1"');
    expect(answer.body).toMatchObject({
      key: 'plain',
      name: 'plain',
      type: 'boolean',
      lifetime: 'temporary',
      clientSide: false,
      archived: false,
      variations: [
        { key: 'on', value: true },
        { key: 'off', value: false },
      ],
    });
    expect(await revisions()).toEqual({ dev: Number(before.dev) + 1, prod: Number(before.prod) + 1 });
    expect(answer.body.revisions).toEqual(await revisions());
    const targetings = await Promise.all(ENVIRONMENTS.map((key) => plane.must('GET', targetingPath('plain', key))));
    for (const { body } of targetings) {
      expect(body).toMatchObject({ on: false, offVariation: 'off', fallthrough: { variation: 'on' }, rules: [] });
      expect(body.salt).toMatch(/^[A-Za-z0-9_-]{16,64}$/);
    }
    expect(new Set(targetings.map(({ body }) => body.salt)).size).toBe(2);
  });

  test('initialTargeting sets members by environment, the rest stays default', async () => {
    const { body } = await create({
      key: 'started',
      type: 'string',
      variations: [
        { key: 'a', value: 'A' },
        { key: 'b', value: 'B' },
      ],
      initialTargeting: { prod: { on: true, fallthrough: { variation: 'b' } } },
    });
    expect(body.key).toBe('started');
    const prod = await plane.must('GET', targetingPath('started', 'prod'));
    expect(prod.body).toMatchObject({ on: true, offVariation: 'b', fallthrough: { variation: 'b' } });
    const dev = await plane.must('GET', targetingPath('started', 'dev'));
    expect(dev.body).toMatchObject({ on: false, offVariation: 'b', fallthrough: { variation: 'a' } });
  });

  const refused: [string, Record<string, unknown>, number, string, string[]][] = [
    ['no type', { key: 'x' }, 422, 'validation-failed', ['/type']],
    ['a bad key', { key: '.x', type: 'boolean' }, 422, 'validation-failed', ['/key']],
    ['no variations', { key: 'x', type: 'string' }, 422, 'validation-failed', ['/variations']],
    [
      'mass assignment',
      { key: 'x', type: 'boolean', id: 'flg', revision: 9 },
      422,
      'validation-failed',
      ['/id', '/revision'],
    ],
    [
      'a value of another type',
      { key: 'x', type: 'number', variations: [{ key: 'a', value: '1' }] },
      422,
      'validation-failed',
      ['/variations/0/value'],
    ],
    [
      'keys that differ by case alone',
      {
        key: 'x',
        type: 'number',
        variations: [
          { key: 'a', value: 1 },
          { key: 'A', value: 2 },
        ],
      },
      422,
      'validation-failed',
      ['/variations/1/key'],
    ],
    [
      'one variation of a boolean flag',
      { key: 'x', type: 'boolean', variations: [{ key: 'on', value: true }] },
      422,
      'validation-failed',
      ['/variations'],
    ],
    [
      'a schema keyword outside the subset',
      {
        key: 'x',
        type: 'json',
        variations: [{ key: 'a', value: {} }],
        valueSchema: { properties: { a: { $ref: '#' } } },
      },
      422,
      'validation-failed',
      ['/valueSchema/properties/a/$ref'],
    ],
    [
      'a value that its schema does not allow',
      {
        key: 'x',
        type: 'json',
        variations: [{ key: 'a', value: { n: 11 } }],
        valueSchema: { properties: { n: { maximum: 10 } } },
      },
      422,
      'validation-failed',
      ['/variations/0/value/n'],
    ],
    [
      'a schema on a string flag',
      { key: 'x', type: 'string', variations: [{ key: 'a', value: 'a' }], valueSchema: {} },
      422,
      'validation-failed',
      ['/valueSchema'],
    ],
    [
      'initial targeting of an environment that is not there',
      { key: 'x', type: 'boolean', initialTargeting: { nowhere: { on: true } } },
      422,
      'dangling-reference',
      ['/initialTargeting/nowhere'],
    ],
    [
      'initial targeting with a prerequisite that is not there',
      {
        key: 'x',
        type: 'boolean',
        initialTargeting: { dev: { prerequisites: [{ flag: 'nope', variations: ['on'] }] } },
      },
      422,
      'dangling-reference',
      ['/initialTargeting/dev/prerequisites/0/flag'],
    ],
    [
      'weights that do not sum',
      {
        key: 'x',
        type: 'boolean',
        initialTargeting: { dev: { fallthrough: { rollout: { weights: [{ variation: 'on', weight: 99_999 }] } } } },
      },
      422,
      'bad-weights',
      ['/initialTargeting/dev/fallthrough/rollout/weights'],
    ],
    [
      'too many values',
      { key: 'x', type: 'string', variations: [{ key: 'a', value: 'x'.repeat(65_537) }] },
      422,
      'limit-exceeded',
      ['/variations/0/value'],
    ],
  ];
  test.each(refused)('%s is refused with pointers and changes nothing', async (_name, body, status, code, pointers) => {
    const before = await revisions();
    const answer = await plane.call('POST', `${acme.project}/flags`, { body });
    expect([answer.status, answer.body.code, pointersOf(answer)]).toEqual([status, code, pointers]);
    expect(await revisions()).toEqual(before);
    expect((await plane.call('GET', flagPath('x'))).status).toBe(404);
  });

  test('values come back as they were written, whatever their members are called (M16, M18)', async () => {
    const value = '{"z":1,"__proto__":{"admin":true},"constructor":[],"a":{"__proto__":null},"é漢🌍":-0.5}';
    const raw = `{"key":"names","type":"json","variations":[{"key":"v","value":${value}}]}`;
    const made = await plane.must('POST', `${acme.project}/flags`, { raw });
    expect(made.text).toContain(`"value":${value}`);
    const renamed = await edit('PATCH', flagPath('names'), { name: 'n' });
    expect(renamed.body.revisions).toEqual(made.body.revisions);
    expect((await plane.must('GET', flagPath('names'))).text).toContain(`"value":${value}`);
    expect(({} as { admin?: boolean }).admin).toBeUndefined();
  });

  test('an existing key is 409 conflict, and an Idempotency-Key replays instead', async () => {
    const headers = { 'idempotency-key': 'create-once' };
    const body = { key: 'once', type: 'boolean' };
    const first = await plane.must('POST', `${acme.project}/flags`, { body, headers });
    const again = await plane.must('POST', `${acme.project}/flags`, { body, headers });
    expect(again.text).toBe(first.text);
    expect(again.headers['idempotency-replayed']).toBe('true');
    expect((await plane.call('POST', `${acme.project}/flags`, { body })).body.code).toBe('conflict');
  });

  test('a dry run says what would happen and changes nothing', async () => {
    const before = await revisions();
    const answer = await plane.must('POST', `${acme.project}/flags?dryRun=true`, {
      body: { key: 'dry', type: 'boolean' },
    });
    expect(answer.body).toMatchObject({ dryRun: true, summary: 'created flag dry' });
    expect(answer.body.environments).toHaveLength(2);
    expect(answer.body.environments[0]).toMatchObject({ changedDefinitions: 1, issues: [] });
    expect(await revisions()).toEqual(before);
    expect((await plane.call('GET', flagPath('dry'))).status).toBe(404);
  });
});

describe('editing a flag', () => {
  test('names, descriptions and tags raise no environment; a value raises exactly those that ship it', async () => {
    await create({ key: 'edited', type: 'boolean' });
    const before = await revisions();
    const renamed = await edit('PATCH', flagPath('edited'), { name: 'New', description: 'd', tags: ['t'] });
    expect(renamed.body).toMatchObject({ name: 'New', description: 'd', tags: ['t'], version: 2, revisions: before });
    const named = await edit('PATCH', flagPath('edited'), {
      variations: [
        { key: 'on', name: 'An', value: true },
        { key: 'off', value: false },
      ],
    });
    expect([named.status, named.body.revisions]).toEqual([200, before]);
    const seen = await edit('PATCH', flagPath('edited'), { clientSide: true });
    expect(seen.body.revisions).toEqual({ dev: Number(before.dev) + 1, prod: Number(before.prod) + 1 });
  });

  test('key and type never change; what PATCH does not know is refused with its pointer', async () => {
    await create({ key: 'fixed', type: 'boolean' });
    const answer = await edit('PATCH', flagPath('fixed'), { key: 'other', type: 'string', name: '' });
    expect([answer.status, pointersOf(answer).sort()]).toEqual([422, ['/key', '/name', '/type']]);
  });

  test('JSON patch edits one variation; its test operation is honoured', async () => {
    await create({
      key: 'patched',
      type: 'number',
      variations: [
        { key: 'one', value: 1 },
        { key: 'two', value: 2 },
      ],
    });
    const type = { 'content-type': 'application/json-patch+json' };
    const wrong = await edit(
      'PATCH',
      flagPath('patched'),
      [{ op: 'test', path: '/variations/0/value', value: 9 }],
      type,
    );
    expect([wrong.status, wrong.body.code]).toEqual([409, 'conflict']);
    const right = await edit(
      'PATCH',
      flagPath('patched'),
      [{ op: 'replace', path: '/variations/0/value', value: 10 }],
      type,
    );
    expect(right.body.variations).toEqual([
      { key: 'one', value: 10 },
      { key: 'two', value: 2 },
    ]);
  });

  test('a patch that copies itself over and over is refused, not carried out', async () => {
    await create({ key: 'bomb', type: 'boolean' });
    const copy = { op: 'copy', from: '/variations', path: '/variations/0/value' };
    const headers = { 'content-type': 'application/json-patch+json' };
    const answer = await edit(
      'PATCH',
      flagPath('bomb'),
      Array.from({ length: 200 }, () => copy),
      headers,
    );
    expect([answer.status, answer.body.code]).toEqual([422, 'validation-failed']);
  });

  test('If-Match: missing is 428, stale is 412 with the current ETag', async () => {
    await create({ key: 'guarded', type: 'boolean' });
    const missing = await plane.call('PATCH', flagPath('guarded'), { body: { name: 'n' } });
    expect([missing.status, missing.body.code]).toEqual([428, 'precondition-required']);
    const stale = await plane.call('PATCH', flagPath('guarded'), {
      body: { name: 'n' },
      headers: { 'if-match': '"7"' },
    });
    expect([stale.status, stale.body.code, stale.body.currentEtag]).toEqual([412, 'revision-conflict', '"1"']);
  });

  test('of 12 parallel edits with the same ETag exactly one wins per version (I5)', async () => {
    await create({ key: 'contended', type: 'boolean' });
    for (const version of [1, 2, 3]) {
      const answers = await Promise.all(
        Array.from({ length: 12 }, (_, index) =>
          plane.call('PATCH', flagPath('contended'), {
            body: { description: `${version}-${index}` },
            headers: { 'if-match': `"${version}"` },
          }),
        ),
      );
      const statuses = answers.map(({ status }) => status).sort((a, b) => a - b);
      expect(statuses).toEqual([200, ...Array.from({ length: 11 }, () => 412)]);
      const winner = answers.find(({ status }) => status === 200);
      expect((await plane.must('GET', flagPath('contended'))).body.description).toBe(winner?.body.description);
    }
  });
});

describe('in use (409 with a pointer to every user)', () => {
  test('variations, prerequisites and archived flags', async () => {
    await create({
      key: 'base',
      type: 'string',
      variations: ['a', 'b', 'c', 'd', 'e', 'f'].map((key) => ({ key, value: key })),
    });
    await create({ key: 'user-of-base', type: 'boolean' });
    await edit('PATCH', targetingPath('base', 'prod'), {
      on: true,
      offVariation: 'a',
      targets: [{ contextKind: 'user', variation: 'b', keys: ['u'] }],
      rules: [
        {
          id: 'r',
          when: { all: [] },
          serve: {
            rollout: {
              weights: [
                { variation: 'c', weight: 100_000 },
                { variation: 'd', weight: 0 },
              ],
            },
          },
        },
      ],
      fallthrough: { variation: 'e' },
    });
    await edit('PATCH', targetingPath('user-of-base', 'dev'), { prerequisites: [{ flag: 'base', variations: ['c'] }] });
    const keep = [{ key: 'f', value: 'f' }];
    const removal = await edit('PATCH', flagPath('base'), { variations: keep });
    expect([removal.status, removal.body.code]).toEqual([409, 'in-use']);
    expect(pointersOf(removal)).toEqual([
      '/environments/dev/flags/base/targeting/fallthrough',
      '/environments/dev/flags/user-of-base/targeting/prerequisites/0',
      '/environments/prod/flags/base/targeting/offVariation',
      '/environments/prod/flags/base/targeting/targets/0/variation',
      '/environments/prod/flags/base/targeting/rules/0/serve',
      '/environments/prod/flags/base/targeting/fallthrough',
    ]);
    const archive = await edit('POST', `${flagPath('base')}/archive`);
    expect([archive.status, pointersOf(archive)]).toEqual([
      409,
      ['/environments/dev/flags/user-of-base/targeting/prerequisites/0'],
    ]);
    const removed = await edit('DELETE', `${flagPath('base')}?force=true`);
    expect([removed.status, removed.body.code]).toEqual([409, 'in-use']);
    // An archived flag is shipped nowhere, so it uses nothing; but it cannot come back to a prerequisite that is gone.
    await edit('POST', `${flagPath('user-of-base')}/archive`);
    expect((await edit('POST', `${flagPath('base')}/archive`)).status).toBe(200);
    const back = await edit('POST', `${flagPath('user-of-base')}/unarchive`);
    expect([back.status, back.body.code]).toEqual([422, 'dangling-reference']);
  });
});

describe('archive, unarchive, delete', () => {
  test('archiving raises where it is shipped and keeps targeting and salt; targeting of an archived flag is not changed', async () => {
    await create({ key: 'resting', type: 'boolean' });
    const salt = (await plane.must('GET', targetingPath('resting', 'dev'))).body.salt;
    const before = await revisions();
    const archived = await edit('POST', `${flagPath('resting')}/archive`);
    expect(archived.body).toMatchObject({ archived: true, version: 2 });
    expect(await revisions()).toEqual({ dev: Number(before.dev) + 1, prod: Number(before.prod) + 1 });
    expect((await edit('POST', `${flagPath('resting')}/archive`)).body.code).toBe('conflict');
    const refused = await edit('PATCH', targetingPath('resting', 'dev'), { on: true });
    expect([refused.status, refused.body.code]).toEqual([409, 'conflict']);
    const edited = await edit('PATCH', flagPath('resting'), { clientSide: true });
    expect(edited.body.revisions).toEqual(archived.body.revisions);
    const shown = await plane.must('GET', `${acme.project}/flags?limit=100`);
    expect(shown.body.items.map(({ key }: { key: string }) => key)).not.toContain('resting');
    const hidden = await plane.must('GET', `${acme.project}/flags?archived=true`);
    expect(hidden.body.items.map(({ key }: { key: string }) => key)).toContain('resting');
    const back = await edit('POST', `${flagPath('resting')}/unarchive`);
    expect([back.status, back.body.archived]).toEqual([200, false]);
    expect((await plane.must('GET', targetingPath('resting', 'dev'))).body.salt).toBe(salt);
  });

  test('deleting waits for 7 days or force; the key used again is another flag, and no old ETag fits it', async () => {
    const first = await create({ key: 'short', type: 'boolean' });
    await edit('PATCH', targetingPath('short', 'dev'), { on: true });
    const salt = (await plane.must('GET', targetingPath('short', 'dev'))).body.salt;
    expect((await edit('DELETE', flagPath('short'))).body.code).toBe('conflict');
    await edit('POST', `${flagPath('short')}/archive`);
    time += 7 * DAY_MS - 1;
    expect((await edit('DELETE', flagPath('short'))).body.code).toBe('conflict');
    time += 1;
    expect((await edit('DELETE', flagPath('short'))).status).toBe(200);
    expect((await plane.call('GET', flagPath('short'))).status).toBe(404);
    expect((await plane.call('GET', targetingPath('short', 'dev'))).status).toBe(404);
    const second = await create({ key: 'short', type: 'boolean' });
    expect(second.body.id).not.toBe(first.body.id);
    expect(second.body.version).toBe(3);
    const targeting = (await plane.must('GET', targetingPath('short', 'dev'))).body;
    expect(targeting.salt).not.toBe(salt);
    expect(targeting.on).toBe(false);
    expect(
      (await plane.call('PATCH', flagPath('short'), { body: { name: 'n' }, headers: { 'if-match': '"1"' } })).status,
    ).toBe(412);
    expect((await edit('DELETE', `${flagPath('short')}?force=true`)).status).toBe(200);
  });
});

describe('a new environment', () => {
  test('knows every flag from the start; archived ones too, unshipped', async () => {
    const made = await plane.must('POST', `${acme.project}/environments`, { body: { key: 'late', name: 'Late' } });
    expect(made.status).toBe(201);
    const targeting = await plane.must('GET', targetingPath('plain', 'late'));
    expect(targeting.body).toMatchObject({ on: false, offVariation: 'off', revision: 1 });
    expect(targeting.body.salt).not.toBe((await plane.must('GET', targetingPath('plain', 'dev'))).body.salt);
    expect((await plane.must('GET', targetingPath('base', 'late'))).status).toBe(200);
  });
});

describe('five environments', () => {
  const NAMES = ['e1', 'e2', 'e3', 'e4', 'e5'] as const;
  const revisionsOfAll = async (project: string): Promise<Record<string, number>> => {
    const entries = await Promise.all(
      NAMES.map(async (key) => {
        const { body } = await plane.must('GET', `${project}/environments/${key}/flags?limit=1`);
        return [key, body.revision] as const;
      }),
    );
    return Object.fromEntries(entries);
  };

  test('a flag edit raises exactly those that serve it differently, each by 1 (I2), and a restart keeps it all', async () => {
    const project = `${acme.tenant}/projects/wide`;
    await plane.must('POST', `${acme.tenant}/projects`, { body: { key: 'wide', name: 'Wide' } });
    for (const key of NAMES) await plane.must('POST', `${project}/environments`, { body: { key, name: key } });
    const flag = `${project}/flags/f`;
    const targeting = (key: string): string => `${project}/environments/${key}/flags/f/targeting`;
    const raisedBy = async (write: () => Promise<Answer>): Promise<string[]> => {
      const before = await revisionsOfAll(project);
      const answer = await write();
      expect(answer.status, answer.text).toBeLessThan(300);
      const after = await revisionsOfAll(project);
      if (answer.body.revisions !== undefined) expect(answer.body.revisions).toEqual(after);
      const steps = NAMES.map((key) => [key, Number(after[key]) - Number(before[key])] as const);
      expect(steps.every(([, step]) => step === 0 || step === 1)).toBe(true);
      return steps.filter(([, step]) => step === 1).map(([key]) => key);
    };
    const all = [...NAMES];
    const post = (body: Record<string, unknown>) => plane.must('POST', `${project}/flags`, { body });
    expect(
      await raisedBy(() =>
        post({
          key: 'f',
          type: 'number',
          variations: [
            { key: 'a', value: 1 },
            { key: 'b', value: 2 },
          ],
        }),
      ),
    ).toEqual(all);
    expect(await raisedBy(() => edit('PATCH', targeting('e3'), { on: true }))).toEqual(['e3']);
    expect(await raisedBy(() => edit('PATCH', targeting('e3'), { on: true }))).toEqual([]);
    expect(
      await raisedBy(() => edit('PATCH', flag, { name: 'F', description: 'x', tags: ['y'], lifetime: 'permanent' })),
    ).toEqual([]);
    expect(
      await raisedBy(() =>
        edit('PATCH', flag, {
          variations: [
            { key: 'a', value: 1 },
            { key: 'b', value: 3 },
          ],
        }),
      ),
    ).toEqual(all);
    expect(await raisedBy(() => edit('POST', `${flag}/archive`))).toEqual(all);
    expect(await raisedBy(() => edit('PATCH', flag, { clientSide: true }))).toEqual([]);
    expect(await raisedBy(() => edit('POST', `${flag}/unarchive`))).toEqual(all);

    const paths = [flag, ...NAMES.flatMap((key) => [targeting(key), `${project}/environments/${key}/revisions`])];
    const read = async () => (await Promise.all(paths.map((path) => plane.must('GET', path)))).map(({ text }) => text);
    const kept = await read();
    await plane.stop();
    plane = await TestControlPlane.start({ directory: plane.directory, now: () => time });
    expect(await read()).toEqual(kept);
    expect(await raisedBy(() => edit('DELETE', `${flag}?force=true`))).toEqual(all);
  });
});
