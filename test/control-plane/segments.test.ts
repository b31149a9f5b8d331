import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, type Seed, TestControlPlane } from '../support/control-plane.js';

let plane: TestControlPlane;
let acme: Seed;
let time = Date.now();

beforeAll(async () => {
  plane = await TestControlPlane.start({ now: () => time });
  acme = await plane.seed('acme');
  await plane.must('POST', `${acme.project}/flags`, { body: { key: 'gate', type: 'boolean' } });
});
afterAll(() => plane.dispose());

const DAY_MS = 24 * 3_600_000;
const pointersOf = ({ body }: Answer): string[] => body.errors.map(({ pointer }: { pointer: string }) => pointer);
const segmentPath = (key: string): string => `${acme.dev.path}/segments/${key}`;
const create = (body: Record<string, unknown>): Promise<Answer> =>
  plane.must('POST', `${acme.dev.path}/segments`, { body });
const revision = async (): Promise<number> => (await plane.must('GET', `${acme.dev.path}/flags`)).body.revision;
const numbered = (count: number, prefix = 'user-'): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}${index}`);

async function edit(method: string, path: string, body?: unknown): Promise<Answer> {
  const { headers } = await plane.must('GET', path.replace(/\/(archive|unarchive)$|\?.*$/, ''));
  return plane.call(method, path, {
    ...(body === undefined ? {} : { body }),
    headers: { 'if-match': String(headers.etag) },
  });
}

async function allKeys(key: string, query = '', limit = 1_000): Promise<string[]> {
  const found: string[] = [];
  let cursor: string | null = '';
  for (let page = 0; page < 100 && cursor !== null; page += 1) {
    const next = cursor === '' ? '' : `&cursor=${cursor}`;
    const { body } = await plane.must('GET', `${segmentPath(key)}/keys?limit=${limit}${query}${next}`);
    found.push(...body.items);
    cursor = body.nextCursor;
  }
  return found;
}

describe('segments', () => {
  test('a key that differs from another in case alone is refused, in its own environment', async () => {
    const post = (key: string, path: string) => plane.call('POST', `${path}/segments`, { body: { key, name: key } });
    expect((await post('Big-Spenders', acme.dev.path)).status).toBe(201);
    const refused = await post('big-spenders', acme.dev.path);
    expect([refused.status, pointersOf(refused)]).toEqual([422, ['/key']]);
    expect((await post('big-spenders', acme.prod.path)).status).toBe(201);
  });

  test('are made with rules and small lists, in one environment alone', async () => {
    const before = await revision();
    const answer = await create({
      key: 'beta',
      rules: [{ when: { attribute: 'plan', op: 'in', values: ['pro'] }, rollout: { weight: 50_000 } }],
      included: [{ keys: ['u1', 'u2'] }, { contextKind: 'organization', keys: ['o1'] }, { keys: ['u2', 'u3'] }],
      excluded: [{ keys: ['u9'] }],
    });
    expect([answer.status, answer.body.revision, answer.headers.location]).toEqual([
      201,
      before + 1,
      segmentPath('beta'),
    ]);
    expect(answer.body.keyCounts).toEqual([
      { list: 'included', contextKind: 'organization', count: 1 },
      { list: 'included', contextKind: 'user', count: 3 },
      { list: 'excluded', contextKind: 'user', count: 1 },
    ]);
    expect((await allKeys('beta')).sort()).toEqual(['u1', 'u2', 'u3']);
    expect(await allKeys('beta', '&list=excluded')).toEqual(['u9']);
    expect(await allKeys('beta', '&contextKind=organization')).toEqual(['o1']);
    expect((await plane.call('GET', `${acme.prod.path}/segments/beta`)).status).toBe(404);
    expect((await plane.call('POST', `${acme.dev.path}/segments`, { body: { key: 'beta' } })).body.code).toBe(
      'conflict',
    );
  });

  const refused: [string, Record<string, unknown>, string, string[]][] = [
    ['its own id', { key: 'x', id: 'seg' }, 'validation-failed', ['/id']],
    ['an empty key', { key: 'x', included: [{ keys: ['a', ''] }] }, 'validation-failed', ['/included/0/keys/1']],
    [
      'a key over 512 bytes',
      { key: 'x', excluded: [{ keys: ['é'.repeat(257)] }] },
      'limit-exceeded',
      ['/excluded/0/keys/0'],
    ],
    ['too many keys', { key: 'x', included: [{ keys: numbered(10_001) }] }, 'limit-exceeded', ['/included']],
    ['itself', { key: 'x', rules: [{ when: { segment: ['x'] } }] }, 'reference-cycle', ['/rules']],
    [
      'a segment that is not there',
      { key: 'x', rules: [{ when: { segment: ['y'] } }] },
      'dangling-reference',
      ['/rules/0/when/segment/0'],
    ],
    [
      'a weight above 100 %',
      { key: 'x', rules: [{ when: { all: [] }, rollout: { weight: 100_001 } }] },
      'validation-failed',
      ['/rules/0/rollout/weight'],
    ],
  ];
  test.each(refused)('%s is refused', async (_name, body, code, pointers) => {
    const before = await revision();
    const answer = await plane.call('POST', `${acme.dev.path}/segments`, { body });
    expect([answer.status, answer.body.code, pointersOf(answer)]).toEqual([422, code, pointers]);
    expect(await revision()).toBe(before);
  });

  test('a new name raises nothing, new rules do; a cycle is refused when it closes', async () => {
    await create({ key: 'outer', rules: [{ when: { segment: ['beta'] } }] });
    const before = await revision();
    expect((await edit('PATCH', segmentPath('outer'), { name: 'Outer' })).body.revision).toBe(before);
    expect((await edit('PATCH', segmentPath('outer'), { rules: [] })).body.revision).toBe(before + 1);
    await edit('PATCH', segmentPath('outer'), { rules: [{ when: { segment: ['beta'] } }] });
    const cycle = await edit('PATCH', segmentPath('beta'), { rules: [{ when: { segment: ['outer'] } }] });
    expect([cycle.status, cycle.body.code]).toEqual([422, 'reference-cycle']);
    expect((await edit('PATCH', segmentPath('beta'), { salt: 'x' })).status).toBe(422);
  });

  test('archiving one in use names every user; otherwise its keys rest with it and come back', async () => {
    const targeting = `${acme.dev.path}/flags/gate/targeting`;
    await edit('PATCH', targeting, {
      rules: [{ id: 'r', when: { any: [{ segment: ['beta'] }] }, serve: { variation: 'on' } }],
    });
    const inUse = await edit('POST', `${segmentPath('beta')}/archive`);
    expect([inUse.status, inUse.body.code, pointersOf(inUse)]).toEqual([
      409,
      'in-use',
      [
        '/environments/dev/flags/gate/targeting/rules/0/when/any/0/segment/0',
        '/environments/dev/segments/outer/rules/0/when/segment/0',
      ],
    ]);
    await create({ key: 'rested', included: [{ keys: numbered(9_000) }] });
    const { body: active } = await plane.must('GET', segmentPath('rested'));
    const before = await revision();
    expect((await edit('POST', `${segmentPath('rested')}/archive`)).body).toMatchObject({
      archived: true,
      revision: before + 1,
    });
    expect((await allKeys('rested')).sort()).toEqual(numbered(9_000).sort());
    expect((await plane.call('POST', `${segmentPath('rested')}/keys`, { body: { add: ['x'] } })).body.code).toBe(
      'conflict',
    );
    const back = await edit('POST', `${segmentPath('rested')}/unarchive`);
    expect(back.body).toMatchObject({
      archived: false,
      salt: active.salt,
      keyCounts: active.keyCounts,
      revision: before + 2,
    });
    expect(await allKeys('rested')).toHaveLength(9_000);
    expect((await edit('DELETE', segmentPath('rested'))).body.code).toBe('conflict');
    await edit('POST', `${segmentPath('rested')}/archive`);
    time += 7 * DAY_MS;
    expect((await edit('DELETE', segmentPath('rested'))).status).toBe(200);
    expect((await plane.call('GET', segmentPath('rested'))).status).toBe(404);
    const again = await create({ key: 'rested' });
    expect(again.body).toMatchObject({ keyCounts: [], version: 5 });
    expect(again.body.salt).not.toBe(active.salt);
    expect(await allKeys('rested')).toEqual([]);
  });
});

describe('keys of a segment', () => {
  test('adding and removing is one revision and tells what it did; repeating it changes nothing', async () => {
    await create({ key: 'edited', included: [{ keys: ['a', 'b'] }] });
    const before = await revision();
    const body = { add: ['b', 'c', 'é漢🌍'], remove: ['a', 'zzz'] };
    const first = await plane.must('POST', `${segmentPath('edited')}/keys`, { body });
    expect(first.body).toMatchObject({ addedCount: 2, removedCount: 1, count: 3, revision: before + 1 });
    const second = await plane.must('POST', `${segmentPath('edited')}/keys`, { body });
    expect(second.body).toMatchObject({ addedCount: 0, removedCount: 0, count: 3, revision: before + 1 });
    expect((await allKeys('edited')).sort()).toEqual(['b', 'c', 'é漢🌍'].sort());
    const emptied = await plane.must('POST', `${segmentPath('edited')}/keys`, {
      body: { remove: ['b', 'c', 'é漢🌍'] },
    });
    expect(emptied.body.keyCounts).toEqual([]);
  });

  test('a dry run shows counts and no keys: the record of a segment holds none', async () => {
    const path = `${segmentPath('edited')}/keys?dryRun=true`;
    const { body } = await plane.must('POST', path, { body: { add: ['dry-1', 'dry-2'], remove: ['nobody'] } });
    expect(body.diff).toContainEqual({
      op: 'add',
      pointer: '/keyCounts/0',
      after: { list: 'included', contextKind: 'user', count: 2 },
    });
    expect(body.environments).toMatchObject([{ changedDefinitions: 1, issues: [] }]);
    expect(JSON.stringify(body)).not.toContain('dry-1');
    expect(await allKeys('edited')).toEqual([]);
  });

  test('bad calls are refused with pointers; If-Match is honoured when it is there', async () => {
    const call = (body: unknown, headers = {}) =>
      plane.call('POST', `${segmentPath('edited')}/keys`, { body, headers });
    const both = await call({ add: ['a', 'b'], remove: ['b'] });
    expect([both.status, pointersOf(both)]).toEqual([422, ['/add/1']]);
    expect(pointersOf(await call({ add: [''], remove: [1] }))).toEqual(['/remove/0']);
    expect((await call({ add: numbered(10_001) })).body.code).toBe('limit-exceeded');
    expect((await call({ list: 'both', add: ['a'] })).status).toBe(422);
    expect((await call({ add: ['a'] }, { 'if-match': '"1"' })).status).toBe(412);
    expect((await plane.call('GET', `${segmentPath('edited')}/keys?cursor=bm9uZQ`)).status).toBe(422);
  });

  test('pages stay right while keys are added and chunks split under them', async () => {
    const keys = numbered(4_000);
    await create({ key: 'paged', included: [{ keys }] });
    const seen: string[] = [];
    let cursor = '';
    for (let page = 0; page < 20 && cursor !== 'end'; page += 1) {
      const { body } = await plane.must('GET', `${segmentPath('paged')}/keys?limit=500${cursor}`);
      seen.push(...body.items);
      cursor = body.nextCursor === null ? 'end' : `&cursor=${body.nextCursor}`;
      // 4 000 + 600 keys no longer fit one chunk, so it splits while it is being read.
      const add = numbered(200, `late-${page}-`);
      if (page < 3) await plane.must('POST', `${segmentPath('paged')}/keys`, { body: { add } });
    }
    expect(new Set(seen).size).toBe(seen.length);
    expect(keys.filter((key) => !seen.includes(key))).toEqual([]);
  });

  test('the audit entry keeps counts, digests and a capped sample', async () => {
    await plane.must('POST', `${segmentPath('paged')}/keys`, { body: { add: numbered(9_000, 'audited-') } });
    const { body } = await plane.must('GET', `${acme.tenant}/audit?limit=1`);
    const text = JSON.stringify(body.items[0]);
    expect(text).toContain('9000 keys added');
    expect(text).toContain('addDigest');
    expect(text).toContain('audited-4');
    expect(text).not.toContain('audited-100');
    expect(text.length).toBeLessThan(4_096);
  });
});

describe('uploads', () => {
  const start = (segment: string, body: Record<string, unknown>): Promise<Answer> =>
    plane.call('POST', `${segmentPath(segment)}/uploads`, { body });
  const put = (path: string, lines: string): Promise<Answer> =>
    plane.call('PUT', path, { raw: lines, headers: { 'content-type': 'application/x-ndjson' } });
  const ndjson = (keys: readonly string[]): string => keys.map((key) => `${JSON.stringify(key)}\n`).join('');

  test('parts arrive in any order and again, and take effect as ONE revision', async () => {
    await create({ key: 'uploaded', included: [{ keys: ['old', 'user-1'] }] });
    const { body: upload, headers } = await start('uploaded', { mode: 'replace' });
    expect(headers.location).toBe(`${segmentPath('uploaded')}/uploads/${upload.id}`);
    const path = `${segmentPath('uploaded')}/uploads/${upload.id}`;
    const before = await revision();
    expect((await plane.call('POST', `${path}/complete`)).body.detail).toMatch(/no part has arrived/);
    await put(`${path}/parts/2`, ndjson(numbered(6_000)));
    expect(await plane.call('POST', `${path}/complete`)).toMatchObject({ status: 409, body: { code: 'conflict' } });
    await put(`${path}/parts/1`, ndjson(['wrong']));
    for (const partCount of [1, 3]) {
      expect((await plane.call('POST', `${path}/complete?partCount=${partCount}`)).status).toBe(409);
    }
    const answer = await put(`${path}/parts/1`, ndjson(['é "quoted"', 'user-0']).trimEnd());
    expect(answer.body.parts.map(({ part, count }: { part: number; count: number }) => [part, count])).toEqual([
      [1, 2],
      [2, 6_000],
    ]);
    expect((await plane.must('GET', path)).body.parts).toEqual(answer.body.parts);
    expect(await revision()).toBe(before);
    const done = await plane.must('POST', `${path}/complete`);
    expect(done.body).toMatchObject({ addedCount: 6_000, removedCount: 1, count: 6_001, revision: before + 1 });
    expect((await allKeys('uploaded')).sort()).toEqual([...numbered(6_000), 'é "quoted"'].sort());
    expect((await plane.call('GET', path)).status).toBe(404);
    expect((await plane.call('POST', `${path}/complete`)).status).toBe(404);
  });

  const bad: [string, string, string, string[]][] = [
    ['a line that is no JSON', '"a"\nb\n', 'validation-failed', ['/1']],
    ['a line that is no string', '"a"\n7\n["b"]\n', 'validation-failed', ['/1', '/2']],
    ['an empty line in the middle', '"a"\n\n"b"\n', 'validation-failed', ['/1']],
    ['an empty key', '"a"\n""\n', 'validation-failed', ['/1']],
    ['a lone surrogate', '"\\ud800"\n', 'validation-failed', ['/0']],
    ['a key that is too long', `"${'x'.repeat(513)}"\n`, 'limit-exceeded', ['/0']],
  ];
  test.each(bad)('%s refuses the part', async (_name, lines, code, pointers) => {
    const { body: upload } = await start('uploaded', { mode: 'add' });
    const path = `${segmentPath('uploaded')}/uploads/${upload.id}`;
    const answer = await put(`${path}/parts/1`, lines);
    expect([answer.status, answer.body.code, pointersOf(answer)]).toEqual([422, code, pointers]);
    expect((await plane.must('GET', path)).body.parts).toEqual([]);
    expect((await plane.must('DELETE', path)).status).toBe(204);
  });

  test('bytes that are not UTF-8, too many of them, and part numbers out of range are refused', async () => {
    const { body: upload } = await start('uploaded', { mode: 'add' });
    const path = `${segmentPath('uploaded')}/uploads/${upload.id}`;
    const headers = { 'content-type': 'application/x-ndjson', 'content-length': '3' };
    expect((await plane.call('PUT', `${path}/parts/1`, { raw: Buffer.from([0x22, 0xff, 0x22]), headers })).status).toBe(
      400,
    );
    const large = await put(`${path}/parts/1`, `"${'x'.repeat(1024 * 1024)}"`);
    expect([large.status, large.body.code]).toEqual([413, 'payload-too-large']);
    for (const part of ['0', '1001', 'x']) expect((await put(`${path}/parts/${part}`, '"a"')).status).toBe(422);
    const otherType = { 'content-type': 'text/plain' };
    expect((await plane.call('PUT', `${path}/parts/1`, { raw: '"a"', headers: otherType })).status).toBe(415);
    expect((await plane.call('POST', `${acme.dev.path}/segments/edited/uploads/${upload.id}/complete`)).status).toBe(
      404,
    );
    await plane.must('DELETE', path);
  });

  test('a tenant has 8 at a time; expired ones make room and are gone', async () => {
    const open = await Promise.all(Array.from({ length: 8 }, () => start('uploaded', { mode: 'add' })));
    expect(open.map(({ status }) => status)).toEqual(open.map(() => 201));
    const ninth = await start('uploaded', { mode: 'add' });
    expect([ninth.status, ninth.body.code]).toEqual([422, 'limit-exceeded']);
    const path = `${segmentPath('uploaded')}/uploads/${open[0]?.body.id}`;
    expect((await put(`${path}/parts/1`, '"a"\n')).status).toBe(200);
    time += DAY_MS;
    expect((await put(`${path}/parts/2`, '"b"\n')).status).toBe(404);
    expect((await plane.call('POST', `${path}/complete`)).status).toBe(404);
    expect((await start('uploaded', { mode: 'add' })).status).toBe(201);
  });
});
