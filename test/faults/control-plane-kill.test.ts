import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AuditRow } from '@guidon/control-plane/audit/audit-entry.js';
import { currentTreeHead } from '@guidon/control-plane/audit/audit-proofs.js';
import type { EnvironmentStateRow, RevisionRow } from '@guidon/control-plane/commit/definition-store.js';
import type { OutboxRow } from '@guidon/control-plane/publish/outbox-row.js';
import { ControlStore } from '@guidon/control-plane/store/control-store.js';
import { keys } from '@guidon/control-plane/store/keys.js';
import { type EnvironmentRef, parseTenantId } from '@guidon/protocol';
import { generateSigningKey, parseManifest } from '@guidon/protocol/signed-config';
import { afterAll, expect, test } from 'vitest';
import { verdictOf } from '../support/audit-log.js';
import { booleanFlag, type Seed, TestControlPlane } from '../support/control-plane.js';

const ROUNDS = process.env.GUIDON_DEEP === '1' ? 50 : 5;
const WRITER = fileURLToPath(new URL('./control-plane-writer.mjs', import.meta.url));
let plane: TestControlPlane | undefined;
afterAll(() => plane?.dispose());

interface Acknowledged {
  readonly key: string;
  readonly text: string;
}

/** Starts a writer, lets it acknowledge for a while and kills it at a random moment; answers what it acknowledged. */
function writeAndKill(directory: string, seed: Seed, token: string, round: number): Promise<Acknowledged[]> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [WRITER, directory, seed.project, String(round)], {
      env: { ...process.env, GUIDON_TEST_TOKEN: token },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    let timer: NodeJS.Timeout | undefined;
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString('utf8');
      timer ??= setTimeout(() => child.kill('SIGKILL'), 50 + Math.random() * 250);
    });
    child.on('error', reject);
    child.on('close', (_, signal) => {
      clearTimeout(timer);
      if (signal !== 'SIGKILL') return reject(new Error(`the writer ended by itself: ${output.slice(-500)}`));
      const whole = output.slice(0, output.lastIndexOf('\n') + 1).split('\n');
      resolve(whole.filter((line) => line !== '').map((line) => JSON.parse(line)));
    });
  });
}

test(
  'kill -9 loses no acknowledged write and leaves no half of one (I1, I2, I4)',
  async () => {
    const first = await TestControlPlane.start();
    const seed = await first.seed();
    const token = seed.token;
    await first.stop();
    const acknowledged: Acknowledged[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      acknowledged.push(...(await writeAndKill(first.directory, seed, token, round)));
    }
    expect(acknowledged.length).toBeGreaterThan(ROUNDS);

    const store = await ControlStore.open({ directory: join(first.directory, 'store') });
    const tenantId = parseTenantId(seed.tenantId);
    const audit = store.list<AuditRow>(keys.auditEntries(tenantId)).map(({ value }) => value);
    expect(verdictOf(audit)).toMatchObject({ isSound: true, size: audit.length });
    const { root } = currentTreeHead(store, tenantId, 0, generateSigningKey()).head;
    expect(verdictOf(audit)).toMatchObject({ root });
    const created = audit.map(({ text }) => JSON.parse(text)).filter(({ action }) => action === 'flag.create');
    for (const { id } of [seed.dev, seed.prod]) {
      const environment = store.find<EnvironmentRef>(keys.environmentOwner(id));
      if (environment === undefined) throw new Error('the environment is gone');
      const state = store.find<EnvironmentStateRow>(keys.environmentState(environment));
      const revisions = store.list<RevisionRow>(keys.revisions(environment)).map(({ value }) => value);
      expect(revisions.map(({ revision }) => revision)).toEqual(revisions.map((_, index) => index + 1));
      expect(state?.revision).toBe(revisions.length);
      // One revision per committed change, each signed over the one before.
      expect(revisions.length).toBe(created.length + 1);
      const manifests = revisions.map(({ manifest }) => parseManifest(Buffer.from(manifest)));
      expect(manifests.map(({ previousDigest }) => previousDigest)).toEqual(
        ['', ...manifests.map(({ digest }) => digest)].slice(0, -1),
      );
      expect(manifests.at(-1)?.digest).toBe(state?.digest);
      expect(store.find<OutboxRow>(keys.outbox('config', id))?.to).toBe(revisions.length);
    }
    const subjects = new Set(created.map(({ subject }) => subject));
    for (const { key } of acknowledged) expect(subjects).toContain(`projects/shop/flags/${key}`);
    await store.close();

    plane = await TestControlPlane.start({ directory: first.directory });
    for (const { key, text } of acknowledged) {
      const path = `${seed.project}/flags`;
      expect((await plane.call('GET', `${path}/${key}`, { token })).status).toBe(200);
      // The client that never saw the answer asks again and gets the first one.
      const again = await plane.call('POST', path, {
        token,
        body: booleanFlag(key),
        headers: { 'idempotency-key': key },
      });
      expect([again.status, again.headers['idempotency-replayed'], again.text]).toEqual([201, 'true', text]);
    }
  },
  ROUNDS * 12_000,
);
