import { strict as assert } from 'node:assert';
import { parseAccessList, type Signed, type SigningKey } from '@guidon/protocol/signed-config';
import type { CredentialRecord } from '../credentials/credential-record.js';
import { dataPlaneQuotasOf } from '../limits/tenant-quotas.js';
import { putOutboxRow } from '../publish/outbox-row.js';
import { cacheTokenAfter, signAccessList, signManifest } from '../publish/sign-documents.js';
import type { StoreTransaction } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import type { TenantRecord } from '../tenants/tenant-record.js';
import type { Change, EnvironmentChange, EnvironmentOutcome } from './change.js';
import { type HistoryRetention, pruneHistory, recordChange } from './definition-history.js';
import { type EnvironmentStateRow, putDefinitions, type RevisionRow } from './definition-store.js';
import type { PreparedEnvironment } from './prepare-environment.js';
import { StaleBaseError } from './stale-base-error.js';

/** The row under `keys.accessState`: the list in force, exact text, signature in base64. */
export interface AccessStateRow {
  readonly sequence: number;
  readonly document: string;
  readonly signature: string;
}

export interface WriteContext {
  readonly signingKey: SigningKey;
  readonly now: number;
  readonly actorName: string;
  readonly retention: HistoryRetention;
}

/** Writes one environment's part of a change: revision, definitions, access list, outbox rows. The caller writes the audit entry. */
export function writeEnvironment(
  transaction: StoreTransaction,
  prepared: PreparedEnvironment,
  context: WriteContext,
): EnvironmentOutcome {
  const { change, base, next, isRaised } = prepared;
  const { environment } = change;
  const state = transaction.find<EnvironmentStateRow>(keys.environmentState(environment));
  if ((state?.revision ?? 0) !== base.revision || (state?.epoch ?? base.epoch) !== base.epoch)
    throw new StaleBaseError();
  if (change.isNew === true) transaction.put(keys.environmentOwner(environment.environmentId), environment);
  if (isRaised) {
    const { tenantId, projectId, environmentId } = environment;
    const { epoch, revision, digest } = next;
    putDefinitions(transaction, environment, revision, prepared.definitions);
    for (const definition of prepared.definitions) recordChange(transaction, environment, revision, definition);
    const kept = { oldest: state?.oldestRevision ?? revision, newest: revision };
    const oldestRevision = pruneHistory(transaction, environment, kept, context);
    const row: EnvironmentStateRow = { tenantId, projectId, environmentId, epoch, revision, digest, oldestRevision };
    transaction.put(keys.environmentState(environment), row);
    putOutboxRow(transaction, environment, { topic: 'config', epoch, to: revision });
  }
  return {
    environment,
    epoch: next.epoch,
    revision: next.revision,
    isRaised,
    accessSequence: writeAccessList(transaction, prepared, context),
    isAccessRaised: makesAccessList(change),
  };
}

/**
 * The manifest of the revision that would be made, undefined when none is. It is signed while the pool tries the change: everything in it is known
 * by then. Signing takes 0.045 ms; to wake a thread for it costs more in the end than that (ADR 47).
 */
export function signPrepared(
  { change, base, next, isRaised }: PreparedEnvironment,
  { signingKey, now }: Pick<WriteContext, 'signingKey' | 'now'>,
): Signed | undefined {
  if (!isRaised) return undefined;
  const { epoch, revision, digest } = next;
  return signManifest(change.environment, { epoch, revision, previousDigest: base.digest, digest, now }, signingKey);
}

interface RevisionFacts extends WriteContext {
  readonly auditSequence: number;
  readonly manifest: Signed | undefined;
}

/** The revision row names the audit entry, so it is written after that. */
export function writeRevision(
  transaction: StoreTransaction,
  { change, next, isRaised, definitions }: PreparedEnvironment,
  { action, summary }: Change,
  { auditSequence, manifest, now, actorName }: RevisionFacts,
): void {
  if (!isRaised) return;
  assert(manifest !== undefined, 'a revision that is raised has been signed');
  const { epoch, revision } = next;
  const { environment } = change;
  const row: RevisionRow = {
    epoch,
    revision,
    manifest: Buffer.from(manifest.document).toString('utf8'),
    signature: Buffer.from(manifest.signature).toString('base64'),
    changed: definitions.flatMap(({ kind, key, hash }) => (hash === undefined ? [] : [{ kind, key, hash }])),
    removed: definitions.flatMap(({ kind, key, hash }) => (hash === undefined ? [[kind, key] as const] : [])),
    replaced: definitions.flatMap(({ previousHash }) => (previousHash === undefined ? [] : [previousHash])),
    at: now,
    actorName,
    action,
    summary,
    auditSequence,
  };
  transaction.put(keys.revision(environment, revision), row);
}

function makesAccessList({ access, isNew }: EnvironmentChange): boolean {
  return access === true || isNew === true;
}

/** Signs the keys, and the quotas of the tenant, as the transaction leaves them. Answers the sequence in force. */
function writeAccessList(
  transaction: StoreTransaction,
  { change, next }: PreparedEnvironment,
  { signingKey, now }: WriteContext,
): number {
  const { environment } = change;
  const row = transaction.find<AccessStateRow>(keys.accessState(environment));
  if (!makesAccessList(change)) return row?.sequence ?? 0;
  const sequence = (row?.sequence ?? 0) + 1;
  const before = row === undefined ? undefined : parseAccessList(Buffer.from(row.document, 'utf8'));
  const credentials = transaction.list<CredentialRecord>(keys.credentials(environment)).map(({ value }) => value);
  const quotas = dataPlaneQuotasOf(transaction.find<TenantRecord>(keys.tenant(environment.tenantId))?.quotas);
  const at = { epoch: next.epoch, sequence, now };
  const cacheToken = cacheTokenAfter(before, credentials, now);
  const signed = signAccessList(environment, at, { quotas, credentials, cacheToken }, signingKey);
  transaction.put(keys.accessState(environment), {
    sequence,
    document: Buffer.from(signed.document).toString('utf8'),
    signature: Buffer.from(signed.signature).toString('base64'),
  } satisfies AccessStateRow);
  putOutboxRow(transaction, environment, { topic: 'access', epoch: next.epoch, to: sequence });
  return sequence;
}
