import { setImmediate as nextTurn } from 'node:timers/promises';
import { parseTenantId, type TenantId } from '@guidon/protocol';
import type { Logger } from 'pino';
import type { ControlStore, ListedRow, StoreTransaction } from '../store/control-store.js';
import { keys, lastPart, type StoreKey } from '../store/keys.js';

/** The row under `keys.tenantRemoval`: everything of this tenant goes. Written with the removal of the tenant itself, gone when nothing is left. */
export interface TenantRemovalRow {
  /** `import`: of an import that has not ended well yet. */
  readonly because: 'deletion' | 'import';
  readonly at: number;
}

/** Rows of one transaction; a row is at most a few hundred KB. */
const ROWS_PER_TRANSACTION = 200;

/**
 * Takes everything away that lies under the prefix of a tenant that is gone, and the look-ups that lead there, in bounded transactions. A kill between
 * two of them leaves the removal row, and the next start goes on.
 */
export class TenantRemovals {
  readonly #store: ControlStore;
  readonly #logger: Logger;
  readonly #running = new Map<TenantId, Promise<void>>();
  readonly #listeners = new Set<(tenantId: TenantId) => void>();
  #isClosed = false;

  constructor(store: ControlStore, logger: Logger) {
    this.#store = store;
    this.#logger = logger;
  }

  /** Goes on with what was begun, but for imports of this process. Never rejects. */
  async resume({ isStart }: { readonly isStart: boolean }): Promise<void> {
    for (const { key, value } of this.#store.list<TenantRemovalRow>(keys.tenantRemovals())) {
      if (value.because === 'import' && !isStart) continue;
      const tenantId = parseTenantId(lastPart(key));
      await this.remove(tenantId).catch((error: unknown) =>
        this.#logger.warn({ err: error, tenantId }, 'a tenant is not wholly removed yet; it will be tried again'),
      );
    }
  }

  /** Calls `listener` when nothing of a tenant is left. Returns how to end that. */
  onRemoved(listener: (tenantId: TenantId) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves when nothing of the tenant is left. */
  remove(tenantId: TenantId): Promise<void> {
    const running = this.#running.get(tenantId) ?? this.#remove(tenantId).finally(() => this.#running.delete(tenantId));
    this.#running.set(tenantId, running);
    return running;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled(this.#running.values());
  }

  async #remove(tenantId: TenantId): Promise<void> {
    while (!this.#isClosed) {
      if (await this.#store.transaction((transaction) => removeSome(transaction, tenantId))) {
        for (const listener of this.#listeners) listener(tenantId);
        return;
      }
      await nextTurn();
    }
  }
}

/** True when that was all. */
function removeSome(transaction: StoreTransaction, tenantId: TenantId): boolean {
  const rows = transaction.list<object>(keys.tenantRows(tenantId), { limit: ROWS_PER_TRANSACTION });
  for (const row of rows) {
    for (const key of [...lookUpsOf(tenantId, row), row.key]) transaction.remove(key);
  }
  if (rows.length === ROWS_PER_TRANSACTION) return false;
  transaction.remove(keys.tenantRemoval(tenantId));
  return true;
}

/** Rows outside of the prefix that exist because of this one. */
function lookUpsOf(tenantId: TenantId, { key, value }: ListedRow<object>): StoreKey[] {
  const id = String(lastPart(key));
  switch (key[2]) {
    case 'environment': {
      const { environmentId } = value as { environmentId: string };
      const topics = ['config', 'access'].map((topic) => keys.outbox(topic, environmentId));
      return [keys.environmentOwner(environmentId), ...topics];
    }
    case 'credential':
    case 'admin-credential':
      return [keys.credentialOwner(id)];
    case 'idempotency': {
      const { expiresAt } = value as { expiresAt: number };
      return [keys.idempotencyExpiry(expiresAt, tenantId, String(key[3]), id)];
    }
    default:
      return [];
  }
}
