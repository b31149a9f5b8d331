import type { TenantId } from '@guidon/protocol';
import type { Logger } from 'pino';
import type { ControlStore, StoreTransaction } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import { DELIVERIES_MAX, DELIVERY_RETENTION_MS, type DeliveryRow, type WebhookState } from './delivery-rows.js';

/** How long what was sent stays unwritten at most. A kill within it sends again, with the same ids. */
const WRITE_DELAY_MS = 50;
/** Attempts that wait to be written; beyond it endpoints wait. */
const WAITING_MAX = 5_000;
/** Entries that are too old go with the next ones, this many at a time. */
const EXPIRED_AT_ONCE = 5;

/** What one endpoint has to write. */
interface Pending {
  readonly tenantId: TenantId;
  readonly webhookId: string;
  state: WebhookState;
  readonly deliveries: DeliveryRow[];
  readonly finishedOrders: string[];
}

export interface JournalEntry {
  readonly tenantId: TenantId;
  readonly webhookId: string;
  /** As it is from now on. */
  readonly state: WebhookState;
  readonly delivery?: DeliveryRow | undefined;
  /** An order that is done. */
  readonly finishedOrderId?: string | undefined;
}

/** Writes down how far endpoints have got and what they answered: many in one transaction, so that a delivery does not cost a commit. */
export class DeliveryJournal {
  readonly #store: ControlStore;
  readonly #logger: Logger;
  readonly #now: () => number;
  #pending = new Map<string, Pending>();
  #waitingCount = 0;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(store: ControlStore, logger: Logger, now: () => number) {
    this.#store = store;
    this.#logger = logger;
    this.#now = now;
  }

  /** Resolves at once, unless too much waits to be written. */
  async note({ tenantId, webhookId, state, delivery, finishedOrderId }: JournalEntry): Promise<void> {
    const pending = this.#pending.get(webhookId) ?? { tenantId, webhookId, state, deliveries: [], finishedOrders: [] };
    pending.state = state;
    if (delivery !== undefined) pending.deliveries.push(delivery);
    if (finishedOrderId !== undefined) pending.finishedOrders.push(finishedOrderId);
    this.#pending.set(webhookId, pending);
    this.#waitingCount += 1;
    this.#timer ??= setTimeout(() => void this.flush(), WRITE_DELAY_MS);
    if (this.#waitingCount >= WAITING_MAX) await this.flush();
  }

  /** Resolves when everything noted so far is durable, or could not be written. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  /** Never rejects. */
  async #write(): Promise<void> {
    const all = [...this.#pending.values()];
    this.#pending = new Map();
    this.#waitingCount = 0;
    if (all.length === 0 || this.#store.failure !== undefined) return;
    try {
      await this.#store.transaction((transaction) => {
        for (const pending of all) this.#put(transaction, pending);
      });
    } catch (error) {
      // What is not written is sent again after a restart; the state of now goes out with the next entry.
      this.#logger.warn({ err: error }, 'what webhooks answered was not written down');
    }
  }

  #put(transaction: StoreTransaction, { tenantId, webhookId, state, deliveries, finishedOrders }: Pending): void {
    // Deleted meanwhile: nothing is written below it any more.
    if (!transaction.has(keys.webhook(tenantId, webhookId))) return;
    transaction.put(keys.webhookState(tenantId, webhookId), state);
    for (const orderId of finishedOrders) transaction.remove(keys.webhookRedelivery(tenantId, webhookId, orderId));
    if (deliveries.length === 0) return;
    for (const row of deliveries.slice(-DELIVERIES_MAX)) {
      transaction.put(keys.webhookDelivery(tenantId, webhookId, row.number), row);
    }
    const oldestKept = state.logNext - DELIVERIES_MAX;
    const oldest = transaction.list<DeliveryRow>(keys.webhookDeliveries(tenantId, webhookId), {
      limit: deliveries.length + EXPIRED_AT_ONCE,
    });
    for (const { key, value } of oldest) {
      if (value.number < oldestKept || value.at < this.#now() - DELIVERY_RETENTION_MS) transaction.remove(key);
    }
  }
}
