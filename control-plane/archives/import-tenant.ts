import { randomBytes } from 'node:crypto';
import { type EnvironmentId, type EnvironmentRef, type Json, PlatformError, type TenantId } from '@guidon/protocol';
import { hashSecret, parseManifest, type Signed } from '@guidon/protocol/signed-config';
import { newEnvironmentId, newProjectId, newTenantId } from '../admin-api/params.js';
import type { Change, Reply, WriteRequest } from '../commit/change.js';
import type { EnvironmentStateRow, RevisionRow } from '../commit/definition-store.js';
import type { AccessStateRow } from '../commit/write-environment.js';
import type { ControlPlaneCore } from '../core.js';
import { newFeedStart } from '../feed/feed.js';
import { dataPlaneQuotasOf, type Resource } from '../limits/tenant-quotas.js';
import { addCount, usageRowOf } from '../limits/tenant-usage.js';
import { cacheTokenAfter, signAccessList, signManifest } from '../publish/sign-documents.js';
import type { StoreTransaction } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import type { TenantRecord } from '../tenants/tenant-record.js';
import type { TenantRemovalRow } from '../tenants/tenant-removals.js';
import { replyOf } from '../tenants/tenant-service.js';
import { viewTenant } from '../tenants/tenant-view.js';
import type { ArchiveRow } from './archive-format.js';
import { rowsOf, type VerifiedArchive, verifyArchive } from './read-archive.js';

const ROWS_PER_TRANSACTION = 200;

export interface ImportOptions {
  /** `same` is refused when one of the ids is taken; `new` makes new ones. Salts and seeds stay, so nobody changes buckets. */
  readonly ids: 'same' | 'new';
  /** Of the tenant, when it shall not be the one in the archive. */
  readonly key: string | undefined;
  /** Of the installation that made the archive, when it is not this one. */
  readonly trustRoot: string | undefined;
}

/**
 * Brings a tenant out of an archive. Everything is verified before anything is written. What is written belongs to no tenant until the last transaction
 * makes it one: until then a removal row stands for it, so that a kill half-way leaves nothing.
 */
export async function importTenant(
  core: ControlPlaneCore,
  write: WriteRequest,
  path: string,
  options: ImportOptions,
): Promise<Reply> {
  const { store, committer, removals, signingKeys, releases, now } = core;
  const archive = await verifyArchive(path, signingKeys, options.trustRoot);
  const run = new ImportRun(core, archive, options);
  await run.readIds(path);
  const plan = (): Change => run.plan();
  if (write.dryRun) return committer.commit(write, undefined, plan);
  // What would be refused at the end is refused now.
  store.readStaged(plan);
  const { tenantId } = run;
  await store.transaction((transaction) => {
    assertFree(transaction, tenantId);
    const removal: TenantRemovalRow = { because: 'import', at: now() };
    transaction.put(keys.tenantRemoval(tenantId), removal);
  });
  try {
    await run.writeRows(path);
    core.feed.forgetHead(tenantId);
    const reply = await committer.commit(write, undefined, plan);
    for (const state of run.states) releases.set({ ...state, accessSequence: FIRST_ACCESS_SEQUENCE });
    return reply;
  } catch (error) {
    if (store.failure === undefined) await removals.remove(tenantId);
    throw error;
  }
}

const FIRST_ACCESS_SEQUENCE = 1;

function assertFree(transaction: StoreTransaction, tenantId: TenantId): void {
  const isTaken =
    transaction.has(keys.tenant(tenantId)) ||
    transaction.has(keys.tenantRemoval(tenantId)) ||
    transaction.list(keys.tenantRows(tenantId), { limit: 1 }).length > 0;
  if (isTaken) throw new PlatformError('conflict', 'there is a tenant with this id: import it with new ids');
}

class ImportRun {
  readonly tenantId: TenantId;
  readonly states: EnvironmentStateRow[] = [];
  readonly #core: ControlPlaneCore;
  readonly #archive: VerifiedArchive;
  readonly #options: ImportOptions;
  /** Ids of the archive to those here: of projects and environments. */
  readonly #ids = new Map<string, string>();
  readonly #environments = new Map<string, EnvironmentRef>();
  readonly #usage = new Map<Resource, number>();
  readonly #at: number;

  constructor(core: ControlPlaneCore, archive: VerifiedArchive, options: ImportOptions) {
    this.#core = core;
    this.#archive = archive;
    this.#options = options;
    this.#at = core.now();
    this.tenantId = options.ids === 'same' ? archive.header.tenant.tenantId : newTenantId();
  }

  /** Which projects and environments there are. Their rows come before all that name them only by chance, so they are read first. */
  async readIds(path: string): Promise<void> {
    const isSame = this.#options.ids === 'same';
    for await (const { key, text } of rowsOf(path)) {
      if (key[0] !== '$' || (key[1] !== 'project' && key[1] !== 'environment')) continue;
      const { projectId, environmentId } = JSON.parse(text) as Partial<EnvironmentRef>;
      if (projectId !== undefined && !this.#ids.has(projectId)) {
        this.#ids.set(projectId, isSame ? projectId : newProjectId());
      }
      if (environmentId === undefined) continue;
      const id: EnvironmentId = isSame ? environmentId : newEnvironmentId();
      this.#ids.set(environmentId, id);
      const project = this.#ids.get(projectId ?? '');
      this.#environments.set(id, { tenantId: this.tenantId, projectId: project as never, environmentId: id });
    }
  }

  async writeRows(path: string): Promise<void> {
    let batch: ArchiveRow[] = [];
    const writeBatch = async (): Promise<void> => {
      const rows = batch;
      batch = [];
      await this.#core.store.transaction((transaction) => {
        for (const row of rows) this.#put(transaction, row);
      });
    };
    for await (const row of rowsOf(path)) {
      // The log of the archive stays there: that of the imported tenant begins with its import.
      if (row.key[1] === 'audit') continue;
      batch.push(row);
      if (batch.length >= ROWS_PER_TRANSACTION) await writeBatch();
    }
    await writeBatch();
  }

  #put(transaction: StoreTransaction, { key: [place = '', ...rest], text }: ArchiveRow): void {
    const noun = String(rest[0]);
    const parts = [place, ...rest].map((part, index) => this.#mapped(part, index, noun));
    const key = keys.tenantRow(this.tenantId, parts);
    if (noun === 'definition') {
      transaction.putBytes(key, Buffer.from(text, 'utf8'));
      return;
    }
    const row = this.#rowOf(noun, JSON.parse(text), this.#environments.get(String(parts[0])));
    if (typeof row === 'object' && row !== null) addCount(this.#usage, key, row, 1);
    transaction.put(key, row);
    if (noun === 'state') this.#putAccess(transaction, row as EnvironmentStateRow);
  }

  /** Ids stand first, and behind the nouns that belong to a project. What people typed is never taken for an id. */
  #mapped(part: string | number, index: number, noun: string): string | number {
    const isId = index === 0 || (index === 2 && ['environment', 'flag', 'flag-tombstone'].includes(noun));
    return isId ? (this.#ids.get(String(part)) ?? part) : part;
  }

  #rowOf(noun: string, value: Record<string, unknown>, environment: EnvironmentRef | undefined): unknown {
    switch (noun) {
      case 'role':
        return { ...value, tenantId: this.tenantId };
      case 'project':
      case 'environment':
        return { ...value, tenantId: this.tenantId, ...this.#idsOf(value) };
      case 'credential':
      case 'admin-credential':
        // Nobody has the secret of this hash, and no look-up leads here.
        return {
          ...value,
          secretHash: hashSecret(randomBytes(32).toString('hex')),
          revokedAt: value.revokedAt ?? this.#at,
        };
      case 'state': {
        const state = { ...value, tenantId: this.tenantId, ...this.#idsOf(value) } as EnvironmentStateRow;
        // Raised, as after a restore: nodes that have seen these ids take it for newer than whatever they saw.
        const raised: EnvironmentStateRow = { ...state, epoch: state.epoch + 1 };
        this.states.push(raised);
        return raised;
      }
      case 'revision':
        return this.#resigned(value as Record<string, unknown> & RevisionRow, environment);
      default:
        return value;
    }
  }

  #idsOf({ projectId, environmentId }: Record<string, unknown>): Partial<Record<string, unknown>> {
    return {
      ...(typeof projectId === 'string' ? { projectId: this.#ids.get(projectId) } : {}),
      ...(typeof environmentId === 'string' ? { environmentId: this.#ids.get(environmentId) } : {}),
    };
  }

  /** Its manifest said whose it is: it is signed again, here, for the ids of now. The entry that it names is in the archive alone. */
  #resigned(row: RevisionRow, environment: EnvironmentRef | undefined): RevisionRow {
    if (environment === undefined) throw new PlatformError('validation-failed', 'a revision is of no environment');
    const { previousDigest, digest } = parseManifest(Buffer.from(row.manifest, 'utf8'));
    const epoch = row.epoch + 1;
    const at = { epoch, revision: row.revision, previousDigest, digest, now: this.#at };
    return {
      ...row,
      epoch,
      ...textsOf(signManifest(environment, at, this.#core.signingKeys.signingKey), 'manifest'),
      auditSequence: 0,
    };
  }

  #putAccess(transaction: StoreTransaction, state: EnvironmentStateRow): void {
    const quotas = dataPlaneQuotasOf(this.#archive.header.tenant.quotas);
    const at = { epoch: state.epoch, sequence: FIRST_ACCESS_SEQUENCE, now: this.#at };
    const content = { quotas, credentials: [], cacheToken: cacheTokenAfter(undefined, [], this.#at) };
    const signed = signAccessList(state, at, content, this.#core.signingKeys.signingKey);
    const row: AccessStateRow = { sequence: FIRST_ACCESS_SEQUENCE, ...textsOf(signed, 'document') };
    transaction.put(keys.accessState(state), row);
  }

  /** The last transaction: the tenant is there, with everything that was written before. */
  plan(): Change {
    const { store } = this.#core;
    const { header, treeHead, signedTreeHead, trustRoot, rowCount } = this.#archive;
    const tenant: TenantRecord = {
      ...header.tenant,
      tenantId: this.tenantId,
      key: this.#options.key ?? header.tenant.key,
      archived: false,
      version: 1,
    };
    const keyRow = keys.tenantKey(tenant.key);
    if (store.has(keyRow))
      throw new PlatformError('conflict', `the tenant ${tenant.key} exists already: name another key`);
    if (store.has(keys.tenant(this.tenantId))) {
      throw new PlatformError('conflict', 'there is a tenant with this id: import it with new ids');
    }
    for (const { environmentId } of this.#environments.values()) {
      if (store.has(keys.environmentOwner(environmentId))) {
        throw new PlatformError('conflict', 'there is an environment with one of these ids: import it with new ids');
      }
    }
    const { size, root, issuedAt, keyId } = treeHead;
    const from: Json = { tenantId: header.tenant.tenantId, exportedAt: header.exportedAt, trustRoot, rowCount };
    return {
      owner: this.tenantId,
      action: 'tenant.import',
      subject: `tenants/${tenant.key}`,
      summary: `Imported tenant ${tenant.key} from an archive whose log had ${size} entries and root ${root}`,
      before: undefined,
      after: viewTenant(tenant),
      details: { from, treeHead: { size, root, issuedAt, keyId, signed: signedTreeHead } },
      records: [
        { key: keys.tenant(this.tenantId), read: undefined, value: tenant },
        { key: keyRow, read: undefined, value: { version: 1, tenantId: this.tenantId } as { version: number } },
      ],
      rows: [
        { key: keys.tenantRemoval(this.tenantId), value: undefined },
        // Somebody may have followed the tenant where it comes from.
        { key: keys.feedStart(this.tenantId), value: newFeedStart(0, this.#at) },
        { key: keys.tenantUsage(this.tenantId), value: usageRowOf({}, this.#usage) },
        ...[...this.#environments.values()].map((environment) => ({
          key: keys.environmentOwner(environment.environmentId),
          value: environment,
        })),
      ],
      reply: () => ({ ...replyOf(tenant), status: 201, location: `/api/v1/tenants/${this.tenantId}` }),
    };
  }
}

function textsOf<Name extends string>(signed: Signed, name: Name): Record<Name | 'signature', string> {
  const texts = {
    [name]: Buffer.from(signed.document).toString('utf8'),
    signature: Buffer.from(signed.signature).toString('base64'),
  };
  return texts as Record<Name | 'signature', string>;
}
