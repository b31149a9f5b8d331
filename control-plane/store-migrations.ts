import { type EnvironmentRef, parseTenantId } from '@guidon/protocol';
import { rebuildAuditTree } from './audit/audit-store.js';
import { rebuildHistory } from './commit/rebuild-history.js';
import { putFeedStart } from './feed/feed.js';
import { recountUsage } from './limits/tenant-usage.js';
import type { Migration } from './store/control-store.js';
import { INSTALLATION, keys, lastPart, type Scope } from './store/keys.js';

/** What brings a store of an older build to the format of this one, in order. Here and not in `store/`: each knows the nouns it changes. */
export const STORE_MIGRATIONS: readonly Migration[] = [
  {
    from: 1,
    summary: 'a Merkle tree over every audit log',
    migrate: (transaction) => {
      const tenants = transaction.list(keys.tenants()).map(({ key }) => parseTenantId(lastPart(key)));
      const owners: readonly Scope[] = [INSTALLATION, ...tenants];
      for (const owner of owners) rebuildAuditTree(transaction, owner);
    },
  },
  {
    from: 2,
    summary: 'the history of every definition',
    migrate: (transaction) => {
      const environments = transaction.list<EnvironmentRef>(keys.environmentOwners());
      for (const { value } of environments) rebuildHistory(transaction, value);
    },
  },
  {
    from: 3,
    summary: 'a count of what every tenant has',
    migrate: (transaction) => {
      for (const { key } of transaction.list(keys.tenants())) recountUsage(transaction, parseTenantId(lastPart(key)));
    },
  },
  {
    from: 4,
    summary: 'a feed of every tenant, which begins with its current state',
    migrate: (transaction) => {
      for (const { key } of transaction.list(keys.tenants()))
        putFeedStart(transaction, parseTenantId(lastPart(key)), 1);
    },
  },
];
