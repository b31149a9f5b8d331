import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { signSeal } from '@guidon/control-plane/archives/archive-format.js';
import { ControlStore } from '@guidon/control-plane/store/control-store.js';
import { keys } from '@guidon/control-plane/store/keys.js';
import { parseTenantId } from '@guidon/protocol';
import { hashLeaf, parseTreeHead } from '@guidon/protocol/audit-proof';
import { decodeConfigMessage, decodeSigned, encodeSigned } from '@guidon/protocol/msgpack';
import { hashSecret, parseManifest, type SigningKey, signingKeyFromPem } from '@guidon/protocol/signed-config';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { verdictOf } from '../support/audit-log.js';
import { type Answer, TestControlPlane } from '../support/control-plane.js';
import { archiveTenant, rowsOfStore } from '../support/whole-store.js';
import { type PlantedTenant, TwoTenants } from './two-tenants.js';

let installation: TwoTenants;
let plane: TestControlPlane;
let a: PlantedTenant;
let tenant: string;
let archive: Buffer;
let spool: string;

beforeAll(async () => {
  spool = mkdtempSync(join(tmpdir(), 'guidon-archives-'));
  installation = await TwoTenants.start();
  ({ plane, a } = installation);
  tenant = `/api/v1/tenants/${a.tenantId}`;
  archive = (await plane.must('GET', `${tenant}/export`)).bytes;
  // Where archives are put while they are imported: os.tmpdir() asks for it each time.
  process.env.TMPDIR = spool;
});
afterAll(async () => {
  await plane.dispose();
  rmSync(spool, { recursive: true });
});

const importInto = (target: TestControlPlane, raw: Buffer, query = ''): Promise<Answer> =>
  target.call('POST', `/api/v1/tenants/import?${query}`, { raw, headers: { 'content-type': 'application/gzip' } });
const linesOf = (bytes: Buffer) =>
  gunzipSync(bytes)
    .toString('utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
const pack = (lines: readonly unknown[]): Buffer => gzipSync(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
/** What a context gets and why, of the revision in force: the buckets are in it. */
const targetingOf = async (target: TestControlPlane, project: string) =>
  (await target.must('GET', `${project}/environments/dev/flags/gate/targeting`)).body;
async function definitionsOf(target: TestControlPlane, environmentId: string): Promise<string[]> {
  const token = await target.running.issueNodeCredential('n');
  const { bytes } = await target.must('GET', `/internal/v1/environments/${environmentId}/config`, { token });
  const message = decodeConfigMessage(bytes);
  return (message.delta?.changed ?? []).map((definition) => Buffer.from(definition).toString('utf8')).sort();
}
const tenantCount = async (target: TestControlPlane): Promise<number> =>
  (await target.must('GET', '/api/v1/tenants?limit=100')).body.items.length;

describe('an archive', () => {
  test('has everything of the tenant, nothing of another, and no hash of a secret', async () => {
    const text = gunzipSync(archive).toString('utf8');
    expect(text).not.toContain(installation.b.canary);
    expect(text).not.toContain(installation.b.tenantId);
    for (const token of [a.srv, a.web, a.admin]) {
      const secret = token.split('_').at(-1) ?? '';
      expect(text).not.toContain(secret);
      expect(text).not.toContain(hashSecret(secret));
    }
    expect(text).not.toContain('secretHash');
    const nouns = new Set(linesOf(archive).flatMap(({ key }) => (key === undefined ? [] : [key[1]])));
    for (const noun of ['project', 'environment', 'flag', 'role', 'targeting', 'segment', 'credential', 'audit']) {
      expect([noun, nouns.has(noun)]).toEqual([noun, true]);
    }
    for (const noun of ['revision', 'definition', 'entry', 'change', 'name', 'state', 'admin-credential']) {
      expect([noun, nouns.has(noun)]).toEqual([noun, true]);
    }
  });

  test('holds the audit log as the offline verifier takes it, with its signed head', () => {
    const lines = linesOf(archive);
    const { signed } = decodeSigned(Buffer.from(lines.at(-1).treeHead, 'base64'));
    const head = parseTreeHead(signed.document);
    const entries = lines.filter(({ key }) => key?.[1] === 'audit').map(({ text }) => JSON.parse(text));
    expect(head.owner).toBe(a.tenantId);
    expect(verdictOf(entries, head)).toMatchObject({ isSound: true, size: head.size });
    expect(entries.length).toBe(head.size);
  });

  test('is of one moment, whatever is written while it is read', async () => {
    const reading = plane.must('GET', `${tenant}/export`);
    for (let index = 0; index < 10; index += 1) {
      await plane.must('POST', `${a.project}/flags`, { body: { key: `meanwhile${index}`, type: 'boolean' } });
    }
    const target = await TestControlPlane.start();
    const { bytes } = await reading;
    const answer = await importInto(target, bytes, `trustRoot=${plane.running.trustRoot}`);
    expect(answer.status).toBe(201);
    await target.dispose();
  });

  test('is for admins and owners of the tenant', async () => {
    const { body } = await plane.must('POST', `${tenant}/admin-credentials`, {
      body: { name: 'v', roles: ['viewer'] },
    });
    expect((await plane.call('GET', `${tenant}/export`, { token: body.token })).status).toBe(403);
    expect((await plane.call('GET', `${tenant}/export`, { token: a.admin })).status).toBe(200);
    expect((await importInto(plane, archive).then(({ status }) => status)) < 500).toBe(true);
  });
});

/** The lines of an archive, its last one a seal over those before. */
function sealedWith(key: SigningKey, lines: ReturnType<typeof linesOf>, tenantId: string, exportedAt: number): Buffer {
  const digest = createHash('sha256');
  for (const line of lines.slice(0, -1)) digest.update(`${JSON.stringify(line)}\n`);
  const content = { tenantId, rowCount: lines.length - 2, digest: digest.digest('hex'), exportedAt };
  const seal = Buffer.from(encodeSigned(signSeal(content, key))).toString('base64');
  return pack([...lines.slice(0, -1), { ...lines.at(-1), seal }]);
}

describe('an import', () => {
  test('into the same installation makes another tenant with new ids and the same buckets', async () => {
    const answer = await importInto(plane, archive, 'key=copy');
    expect([answer.status, answer.text]).toEqual([201, expect.any(String)]);
    const { id } = answer.body;
    expect(id).not.toBe(a.tenantId);
    const project = `/api/v1/tenants/${id}/projects/shop`;
    const copied = await targetingOf(plane, project);
    const original = await targetingOf(plane, a.project);
    expect({ ...copied, revision: 0 }).toEqual({ ...original, revision: 0 });
    const { body: environment } = await plane.must('GET', `${project}/environments/dev`);
    expect(environment.id).not.toBe(a.environmentId);
    const mine = (await definitionsOf(plane, a.environmentId)).filter((text) => !text.includes('meanwhile'));
    expect(await definitionsOf(plane, environment.id)).toEqual(mine);
    // History came with it, and can be read and built on.
    const revisions = (await plane.must('GET', `${project}/environments/dev/revisions`)).body.items;
    expect(revisions.length).toBeGreaterThan(1);
    expect((await plane.must('GET', `${project}/environments/dev/revisions/3/flags/gate`)).text).toContain(a.canary);
    await plane.must('POST', `${project}/flags`, { body: { key: 'later', type: 'boolean' } });
    const usage = async (path: string) => (await plane.must('GET', `${path}/usage`)).body;
    expect((await usage(`/api/v1/tenants/${id}`)).segmentKeys).toEqual((await usage(tenant)).segmentKeys);
    // Nothing of the original is named but in the entry that tells where it came from.
    const { body: log } = await plane.must('GET', `/api/v1/tenants/${id}/audit?limit=100`);
    expect(log.items.map(({ action }: { action: string }) => action)).toEqual(['flag.create', 'tenant.import']);
    const [first] = log.items.slice(-1);
    expect(first).toMatchObject({ sequence: 1 });
    const { size, root } = parseTreeHead(
      decodeSigned(Buffer.from(linesOf(archive).at(-1).treeHead, 'base64')).signed.document,
    );
    expect(JSON.parse(first.text).details.treeHead).toMatchObject({ size, root });
    // Keys of the original open nothing, and are shown as revoked.
    const credentials = (await plane.must('GET', `${project}/environments/dev/credentials`)).body.items;
    expect(credentials.every(({ revokedAt }: { revokedAt: number | null }) => revokedAt !== null)).toBe(true);
    expect((await plane.call('GET', `/api/v1/tenants/${id}`, { token: a.admin })).status).toBe(404);
    expect((await plane.call('GET', tenant, { token: a.admin })).status).toBe(200);
  });

  test('into another installation takes the same ids, a raised epoch, and its own signatures', async () => {
    const target = await TestControlPlane.start();
    const unknown = await importInto(target, archive, 'ids=same');
    expect([unknown.status, unknown.body.errors[0].pointer]).toEqual([422, '/trustRoot']);
    expect(unknown.body.detail).toContain(plane.running.trustRoot);
    const query = `ids=same&trustRoot=${plane.running.trustRoot}`;
    const dry = await importInto(target, archive, `${query}&dryRun=true`);
    expect([dry.status, dry.body.dryRun]).toEqual([200, true]);
    expect(await tenantCount(target)).toBe(0);
    expect((await importInto(target, archive, query)).status).toBe(201);
    const { body } = await target.must('GET', `${a.environment}`);
    expect(body).toMatchObject({ id: a.environmentId, epoch: 2, accessSequence: 1 });
    const token = await target.running.issueNodeCredential('n');
    const config = await target.must('GET', `/internal/v1/environments/${a.environmentId}/config`, { token });
    const manifest = parseManifest(decodeConfigMessage(config.bytes).signed.document);
    expect(manifest).toMatchObject({ tenantId: a.tenantId, environmentId: a.environmentId, epoch: 2 });
    const again = await importInto(target, archive, `${query}&key=other`);
    expect([again.status, again.body.code]).toEqual([409, 'conflict']);
    await target.dispose();
  });

  test('after the deletion brings the tenant back under its own ids', async () => {
    const source = await TwoTenants.start();
    const path = `/api/v1/tenants/${source.a.tenantId}`;
    const { bytes } = await source.plane.must('GET', `${path}/export`);
    const before = await targetingOf(source.plane, source.a.project);
    const deletion = await archiveTenant(source.plane, path);
    await source.plane.must('DELETE', deletion.path, { headers: deletion.headers });
    expect((await importInto(source.plane, bytes, 'ids=same')).status).toBe(201);
    expect(await targetingOf(source.plane, source.a.project)).toEqual(before);
    await source.plane.dispose();
  });

  test('writes nothing of an archive that was changed, cut, or is none', async () => {
    const lines = linesOf(archive);
    const at = lines.findIndex(({ key }) => key?.[1] === 'flag');
    const flag = lines[at];
    const definition = lines.findIndex(({ key }) => key?.[1] === 'definition');
    const entry = lines.findIndex(({ key }) => key?.[1] === 'audit');
    const changed = (index: number, line: unknown) => lines.map((old, i) => (i === index ? line : old));
    const bad: Record<string, Buffer> = {
      'no gzip': Buffer.from('hello'),
      empty: gzipSync(''),
      'another file': gzipSync('{"a":1}\n'),
      // Looking through the line anew with each piece of it would take longer than the test may.
      'a line without end': gzipSync(Buffer.alloc(64 * 1024 * 1024, 'a')),
      'cut in the middle': archive.subarray(0, archive.length / 2),
      'without its seal': pack(lines.slice(0, -1)),
      'a row dropped': pack(lines.filter((_, index) => index !== at)),
      'a row twice': pack([...lines.slice(0, at), flag, ...lines.slice(at)]),
      'a row changed': pack(changed(at, { ...flag, text: flag.text.replace('gate', 'gat3') })),
      'a definition changed': pack(changed(definition, { ...lines[definition], text: '{"kind":"flag"}' })),
      'an audit entry changed': pack(
        changed(entry, { ...lines[entry], text: lines[entry].text.replace('ten', 'tan') }),
      ),
      'a row of an unknown noun': pack(changed(at, { key: ['$', 'idempotency', 'x'], text: '{}' })),
      'a key that is none': pack(changed(at, { key: [{}], text: '{}' })),
      'another tenant in front': pack(changed(0, { ...lines[0], tenant: { ...lines[0].tenant, tenantId: 'ten_x' } })),
      'something behind the seal': pack([...lines, flag]),
    };
    const count = await tenantCount(plane);
    const rowCount = async () => (await rowsOfStore(plane.directory)).filter((row) => !row.includes('"audit')).length;
    const rows = await rowCount();
    for (const [what, raw] of Object.entries(bad)) {
      const answer = await importInto(plane, raw, 'key=bad');
      expect([what, answer.status, answer.body.code]).toEqual([what, 422, 'validation-failed']);
    }
    expect(await tenantCount(plane)).toBe(count);
    expect(await rowCount()).toBe(rows);
    await expect.poll(() => readdirSync(spool).filter((name) => name.startsWith('guidon-import-'))).toEqual([]);
  });

  test('takes nothing that was sealed with a key after it was retired, or with one that was revoked (I7)', async () => {
    const { plane: source, a: of } = await TwoTenants.start();
    const { bytes } = await source.must('GET', `/api/v1/tenants/${of.tenantId}/export`);
    const stolen = signingKeyFromPem(readFileSync(join(source.directory, 'keys', 'signing.pem'), 'utf8'));
    const { body: introduced } = await source.must('POST', '/api/v1/signing-keys');
    const next = introduced.keys.find(({ state }: { state: string }) => state === 'next').id;
    const step = async (keyId: string, name: string) => {
      const { version } = (await source.must('GET', '/api/v1/signing-keys')).body;
      const headers = { 'if-match': `"${version}"` };
      return (await source.must('POST', `/api/v1/signing-keys/${keyId}/${name}`, { headers })).body;
    };
    const { keys: set } = await step(next, 'activate');
    const { notAfter } = set.find(({ id }: { id: string }) => id === stolen.keyId);
    const sealed = (exportedAt: number): Buffer => sealedWith(stolen, linesOf(bytes), of.tenantId, exportedAt);
    const late = await importInto(source, sealed(notAfter + 1), 'key=late');
    expect([late.status, late.body.detail]).toEqual([422, expect.stringContaining('retired')]);
    expect((await importInto(source, sealed(notAfter), 'key=early')).status).toBe(201);
    await step(stolen.keyId, 'revoke');
    const revoked = await importInto(source, bytes, 'key=revoked');
    expect([revoked.status, revoked.body.code]).toEqual([422, 'validation-failed']);
    await source.dispose();
  });

  test('is refused, however it is sealed, when its audit log is not that of its tree head', async () => {
    const lines = linesOf(archive);
    const key = signingKeyFromPem(readFileSync(join(plane.directory, 'keys', 'signing.pem'), 'utf8'));
    const last = lines.findLastIndex((line) => line.key?.[1] === 'audit');
    const entry = JSON.parse(lines[last].text);
    const edited = entry.text.replace(/"at":\d/, '"at":9');
    expect(edited).not.toBe(entry.text);
    const withLast = (value: unknown) => lines.with(last, { ...lines[last], text: JSON.stringify(value) });
    const hash = Buffer.from(hashLeaf(edited)).toString('hex');
    const cases: [sentence: RegExp, lines: ReturnType<typeof linesOf>][] = [
      [/has \d+ entries, its tree head says \d+/, lines.toSpliced(last, 1)],
      [/not whole: entry \d+, the text is not what its hash says/, withLast({ ...entry, text: edited })],
      [/not the one that its tree head is of/, withLast({ ...entry, text: edited, hash })],
    ];
    for (const [sentence, forged] of cases) {
      const answer = await importInto(plane, sealedWith(key, forged, a.tenantId, Date.now()), 'key=forged');
      expect([answer.status, answer.body.detail]).toEqual([422, expect.stringMatching(sentence)]);
    }
    const whole = await importInto(plane, sealedWith(key, lines, a.tenantId, Date.now()), 'key=sealed-anew');
    expect(whole.status).toBe(201);
  });

  test('that was killed half-way leaves nothing', async () => {
    const target = await TestControlPlane.start();
    await target.stop();
    const store = await ControlStore.open({ directory: join(target.directory, 'store') });
    const tenantId = parseTenantId('ten_half');
    await store.transaction((transaction) => {
      transaction.put(keys.tenantRemoval(tenantId), { because: 'import', at: 0 });
      for (let index = 0; index < 500; index += 1) transaction.put(keys.project(tenantId, `p${index}`), { index });
    });
    await store.close();
    const again = await TestControlPlane.start({ directory: target.directory });
    await expect
      .poll(async () => (await rowsOfStore(again.directory)).filter((row) => row.includes('ten_half')), {
        timeout: 10_000,
      })
      .toEqual([]);
    await again.dispose();
  });

  test('of a tenant whose key is taken is refused, and so is another media type', async () => {
    const taken = await importInto(plane, archive);
    expect([taken.status, taken.body.code]).toEqual([409, 'conflict']);
    const json = await plane.call('POST', '/api/v1/tenants/import', { body: {} });
    expect(json.status).toBe(422);
    expect(
      (
        await plane.call('POST', '/api/v1/tenants/import', {
          raw: archive,
          token: a.admin,
          headers: { 'content-type': 'application/gzip' },
        })
      ).status,
    ).toBe(403);
  });
});
