import assert from 'node:assert/strict';

export interface FairQueueLimits {
  readonly countMax: number;
  readonly bytesMax: number;
  /** Of one tenant. */
  readonly tenantCountMax: number;
  readonly tenantBytesMax: number;
}

interface Line<Item> {
  readonly items: Set<Item>;
  byteCount: number;
}

/**
 * What waits, in order per tenant, taken from the tenants in turn: who waits with much does not hold up who waits with little (I17). Bounded for
 * each tenant and in all (I25).
 */
export class FairQueue<Item extends { readonly byteCount: number }> {
  readonly #limits: FairQueueLimits;
  /** The tenant whose turn is next comes first. None is empty. */
  readonly #lines = new Map<string, Line<Item>>();
  #count = 0;
  #byteCount = 0;

  constructor(limits: FairQueueLimits) {
    this.#limits = limits;
  }

  get count(): number {
    return this.#count;
  }

  get byteCount(): number {
    return this.#byteCount;
  }

  /** False: it is full, for this tenant or for all. */
  add(tenantId: string, item: Item): boolean {
    const { countMax, bytesMax, tenantCountMax, tenantBytesMax } = this.#limits;
    const line = this.#lines.get(tenantId) ?? { items: new Set(), byteCount: 0 };
    assert(!line.items.has(item), 'an item waits once');
    if (this.#count >= countMax || line.items.size >= tenantCountMax) return false;
    if (this.#byteCount + item.byteCount > bytesMax || line.byteCount + item.byteCount > tenantBytesMax) return false;
    line.items.add(item);
    line.byteCount += item.byteCount;
    this.#lines.set(tenantId, line);
    this.#count += 1;
    this.#byteCount += item.byteCount;
    return true;
  }

  /** The oldest of the tenant whose turn it is, who is last in turn from then on. */
  take(): Item | undefined {
    const [next] = this.#lines;
    if (next === undefined) return undefined;
    const [tenantId, line] = next;
    const [item] = line.items;
    assert(item !== undefined, 'a tenant without items has left');
    this.#lines.delete(tenantId);
    this.#lines.set(tenantId, line);
    this.#remove(tenantId, line, item);
    return item;
  }

  /** False: it does not wait any more. */
  delete(tenantId: string, item: Item): boolean {
    const line = this.#lines.get(tenantId);
    if (line === undefined || !line.items.has(item)) return false;
    this.#remove(tenantId, line, item);
    return true;
  }

  #remove(tenantId: string, line: Line<Item>, item: Item): void {
    line.items.delete(item);
    line.byteCount -= item.byteCount;
    if (line.items.size === 0) this.#lines.delete(tenantId);
    this.#count -= 1;
    this.#byteCount -= item.byteCount;
  }
}
