// The process that the fault tests end: the real store and committer without HTTP, sixteen environments changing at once, one line per answer.
// `node committer-writer.mjs DIRECTORY ROUND MODE ENVIRONMENTS`; MODE is `honest`, or one of the lies that the tests must find out:
// `early` acknowledges before the commit, `unsynced` never syncs, `deaf` takes a failed commit for done.
import { join } from 'node:path';
import { SYSTEM_ACTOR } from '@guidon/control-plane/admin-api/actor.js';
import { IdempotencyKeys } from '@guidon/control-plane/admin-api/idempotency.js';
import { Committer } from '@guidon/control-plane/commit/committer.js';
import { Feed } from '@guidon/control-plane/feed/feed.js';
import { SigningKeys } from '@guidon/control-plane/signing-keys/signing-keys.js';
import { ControlStore, STORE_OPTIONS } from '@guidon/control-plane/store/control-store.js';
import { keys } from '@guidon/control-plane/store/keys.js';
import { STORE_MIGRATIONS } from '@guidon/control-plane/store-migrations.js';
import { CompilePool } from '@guidon/pool';

const FLAGS_PER_ENVIRONMENT = 20;

const [directory, round, mode, environments] = process.argv.slice(2);
const { GUIDON_TEST_FREE_BYTES_MIN: freeBytesMin = '' } = process.env;
if (mode === 'unsynced') Object.assign(STORE_OPTIONS, { noSync: true });
const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const signingKeys = SigningKeys.open(join(directory, 'keys'), Date.now());
const store = await ControlStore.open({
  directory: join(directory, 'store'),
  migrations: STORE_MIGRATIONS,
  ...(freeBytesMin === '' ? {} : { freeBytesMin: Number(freeBytesMin) }),
  // The answers of the requests that met the failure go out first, as in the control plane.
  onFailure: () => setTimeout(() => process.kill(process.pid, 'SIGKILL'), 100),
});
const committer = new Committer({
  store,
  feed: new Feed(store),
  pool: new CompilePool({ threadCount: 1 }),
  signingKeys,
  now: Date.now,
  onCommitted: () => {},
  assertMayServe: () => {},
});
const idempotencyKeys = new IdempotencyKeys(store, Date.now);
print({ isOpen: true });

function flag(key, on) {
  return {
    kind: 'flag',
    key,
    type: 'boolean',
    clientSide: false,
    variations: [
      { key: 'on', value: true },
      { key: 'off', value: false },
    ],
    on,
    offVariation: 'off',
    prerequisites: [],
    targets: [],
    rules: [],
    fallthrough: { variation: 'on' },
    salt: 'salt',
    requires: [],
  };
}

/** The flag as people edit it, for the feed to tell of. */
function record(key, version) {
  const { type, clientSide, variations } = flag(key, true);
  const said = { name: key, description: '', tags: [], lifetime: 'temporary', valueSchema: null };
  const times = { archivedAt: null, createdAt: 0, updatedAt: 0 };
  return { version, id: `flg_${key}`, key, type, clientSide, variations, ...said, ...times };
}

function planOf(environment, change) {
  return () => ({
    owner: environment.tenantId,
    action: 'flag.update',
    subject: `projects/miniature/flags/${change.key ?? ''}`,
    summary: 'a flag of the miniature',
    before: undefined,
    after: { key: change.key ?? '' },
    records: change.records(),
    environments: [{ environment, ...change.environment }],
    reply: ({ environments: [outcome] }) => ({ status: 200, body: { revision: outcome.revision } }),
  });
}

/** One write, told as acknowledged or refused. Resolves false when this process serves no more. */
async function write(environment, requestId, change) {
  const claim = {
    scope: environment.tenantId,
    credentialId: 'writer',
    secret: 'secret',
    idempotencyKey: requestId,
    fingerprint: requestId,
  };
  const remember = (transaction, { status, body }) =>
    idempotencyKeys.remember(transaction, claim, { status, headers: {}, body: JSON.stringify(body) });
  const request = { actor: SYSTEM_ACTOR, requestId, dryRun: false, remember };
  const scope = { projectId: environment.projectId, environmentId: environment.environmentId };
  const { environmentId } = environment;
  // Each write of an environment raises it by one and the lane is alone there, so that a liar can say the revision beforehand.
  const next = (store.find(keys.environmentState(environment))?.revision ?? 0) + 1;
  if (mode === 'early') print({ environmentId, requestId, revision: next });
  try {
    const { body } = await committer.commit(request, scope, planOf(environment, change));
    if (mode !== 'early') print({ environmentId, requestId, revision: body.revision });
    return true;
  } catch (error) {
    if (mode === 'deaf') print({ environmentId, requestId, revision: next });
    else print({ environmentId, requestId, refused: error.code ?? error.message });
    return false;
  }
}

async function writeForEver(environment) {
  const { tenantId } = environment;
  const name = `${round}/${environment.environmentId}`;
  if (!store.has(keys.environmentState(environment))) {
    const made = { records: () => [], environment: { isNew: true } };
    if (!(await write(environment, `${name}/new`, made))) return;
  }
  for (let count = 0; ; count += 1) {
    const key = `flag-${count % FLAGS_PER_ENVIRONMENT}`;
    const rowKey = keys.flag(tenantId, environment.environmentId, key);
    const read = store.find(rowKey);
    const version = (read?.version ?? 0) + 1;
    const change = {
      key,
      records: () => [{ key: rowKey, read, value: record(key, version) }],
      environment: { definitions: [{ put: flag(key, version % 2 === 0) }] },
    };
    if (!(await write(environment, `${name}/${count}`, change))) return;
  }
}

// A change of a tenant that is not there is refused.
const tenantIds = [...new Set(JSON.parse(environments).map(({ tenantId }) => tenantId))];
const newIds = tenantIds.filter((tenantId) => !store.has(keys.tenant(tenantId)));
if (newIds.length > 0) {
  await store.transaction((transaction) => {
    for (const tenantId of newIds) {
      const names = { tenantId, key: tenantId, name: tenantId };
      transaction.put(keys.tenant(tenantId), { ...names, archived: false, createdAt: 0, version: 1 });
    }
  });
}
await Promise.all(JSON.parse(environments).map(writeForEver));
