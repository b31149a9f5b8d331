import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { AuditEntry, AuditRow } from '@guidon/control-plane/audit/audit-entry.js';
import { currentTreeHead } from '@guidon/control-plane/audit/audit-proofs.js';
import type { EnvironmentStateRow, RevisionRow } from '@guidon/control-plane/commit/definition-store.js';
import { Workspaces } from '@guidon/control-plane/commit/environment-workspace.js';
import type { AccessStateRow } from '@guidon/control-plane/commit/write-environment.js';
import type { OutboxRow } from '@guidon/control-plane/publish/outbox-row.js';
import { SigningKeys } from '@guidon/control-plane/signing-keys/signing-keys.js';
import { ControlStore } from '@guidon/control-plane/store/control-store.js';
import { keys } from '@guidon/control-plane/store/keys.js';
import { STORE_MIGRATIONS } from '@guidon/control-plane/store-migrations.js';
import type { EnvironmentRef, TenantId } from '@guidon/protocol';
import { verifyTreeHead } from '@guidon/protocol/audit-proof';
import { isSignedBy, parseManifest, type SigningKey } from '@guidon/protocol/signed-config';
import { verdictOf } from '../support/audit-log.js';
import type { WriterAnswer } from './miniature.js';

type Fault = string;

/**
 * Opens the store as the next process would and answers everything that is wrong with it, in sentences: an acknowledged write without its
 * audit entry, revision, outbox row or idempotency record; a refused one that is visible; a gap; half of a change; a broken chain (I1, I2, I4, I23).
 */
export async function findFaults(
  directory: string,
  environments: readonly EnvironmentRef[],
  answers: readonly WriterAnswer[],
): Promise<Fault[]> {
  const { signingKey } = SigningKeys.open(join(directory, 'keys'), Date.now());
  const store = await ControlStore.open({ directory: join(directory, 'store'), migrations: STORE_MIGRATIONS });
  try {
    const faults: Fault[] = [];
    const tenantIds = [...new Set(environments.map(({ tenantId }) => tenantId))];
    for (const tenantId of tenantIds) {
      const own = environments.filter((environment) => environment.tenantId === tenantId);
      const ids = new Set<string>(own.map(({ environmentId }) => environmentId));
      const log = readLog(store, tenantId, signingKey, faults);
      for (const environment of own) checkEnvironment(store, environment, log, signingKey, faults);
      const ownAnswers = answers.filter(({ environmentId }) => ids.has(environmentId));
      for (const answer of ownAnswers) checkAnswer(store, tenantId, answer, log, faults);
    }
    return faults;
  } finally {
    await store.close();
  }
}

/** The log's entries by request id, after the chain and a signed head over it were verified. */
function readLog(
  store: ControlStore,
  tenantId: TenantId,
  signingKey: SigningKey,
  faults: Fault[],
): Map<string, AuditEntry> {
  const rows = store.list<AuditRow>(keys.auditEntries(tenantId)).map(({ value }) => value);
  const { signed } = currentTreeHead(store, tenantId, Date.now(), signingKey);
  const head = verifyTreeHead(signed, [signingKey]);
  const verdict = verdictOf(rows, head);
  if (!verdict.isSound || head?.size !== rows.length) {
    faults.push(`audit log of ${tenantId}: ${JSON.stringify(verdict)}, head of ${head?.size}`);
  }
  return new Map(
    rows.map(({ text }) => {
      const entry: AuditEntry = JSON.parse(text);
      return [entry.requestId, entry];
    }),
  );
}

function checkEnvironment(
  store: ControlStore,
  environment: EnvironmentRef,
  log: ReadonlyMap<string, AuditEntry>,
  signingKey: SigningKey,
  faults: Fault[],
): void {
  const { environmentId } = environment;
  const state = store.find<EnvironmentStateRow>(keys.environmentState(environment));
  const rows = store.list<RevisionRow>(keys.revisions(environment)).map(({ value }) => value);
  if (state === undefined && rows.length === 0) return;
  const say = (detail: string): void => void faults.push(`${environmentId}: ${detail}`);
  if (state?.revision !== rows.length) say(`state ${state?.revision}, ${rows.length} revision rows`);
  if (store.find<OutboxRow>(keys.outbox('config', environmentId))?.to !== rows.length) say('outbox row is behind');
  if (store.find<AccessStateRow>(keys.accessState(environment)) === undefined) say('no access list');
  const raising = new Map<number, number>();
  for (const { sequence, environments } of log.values()) {
    for (const touched of environments) {
      if (touched.environmentId !== environmentId || touched.revision === touched.previousRevision) continue;
      raising.set(touched.revision, sequence);
    }
  }
  let previousDigest = '';
  for (const [index, { revision, manifest, signature, auditSequence }] of rows.entries()) {
    const document = Buffer.from(manifest);
    const named = parseManifest(document);
    if (revision !== index + 1 || named.revision !== revision) say(`revision ${revision} stands at ${index + 1}`);
    if (named.previousDigest !== previousDigest) say(`revision ${revision} does not follow the one before`);
    if (raising.get(revision) !== auditSequence) say(`revision ${revision} has no audit entry`);
    if (!isSignedBy({ document, signature: Buffer.from(signature, 'base64') }, signingKey.publicKey)) {
      say(`revision ${revision} is not signed`);
    }
    previousDigest = named.digest;
  }
  if (raising.size !== rows.length) say(`${raising.size} raising audit entries, ${rows.length} revisions`);
  if (state?.digest !== previousDigest) say('state and newest manifest differ');
  // Reads every definition in force and compares the whole with the state's digest.
  try {
    new Workspaces().open(store, environment);
  } catch (error) {
    say(String(error));
  }
}

function checkAnswer(
  store: ControlStore,
  tenantId: TenantId,
  { environmentId, requestId, revision, refused }: WriterAnswer,
  log: ReadonlyMap<string, AuditEntry>,
  faults: Fault[],
): void {
  const entry = log.get(requestId);
  const keyHash = createHash('sha256').update(requestId).digest('hex');
  const isRemembered = store.has(keys.idempotency(tenantId, 'writer', keyHash));
  if ((entry !== undefined) !== isRemembered) faults.push(`${requestId}: audit entry and idempotency record differ`);
  if (refused === 'outcome-unknown') return;
  if (refused !== undefined) {
    if (entry !== undefined) faults.push(`${requestId}: refused with ${refused}, but it is there`);
    return;
  }
  const written = entry?.environments.find((touched) => touched.environmentId === environmentId)?.revision;
  if (written !== revision) faults.push(`${requestId}: acknowledged as revision ${revision}, is ${written}`);
}
