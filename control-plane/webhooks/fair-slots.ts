/**
 * Places for requests that are under way. Whoever waits gets one in the order of asking within his tenant; tenants take turns, and none has more than
 * `perTenant` at a time. A place is given back by calling what `take` resolved with, once.
 */
export class FairSlots {
  readonly #total: number;
  readonly #perTenant: number;
  readonly #taken = new Map<string, number>();
  #takenCount = 0;
  /** In turn: a tenant that was served goes to the end. Bounded by who asks: one wait per endpoint. */
  readonly #waiting = new Map<string, (() => void)[]>();

  constructor({ total, perTenant }: { readonly total: number; readonly perTenant: number }) {
    this.#total = total;
    this.#perTenant = perTenant;
  }

  async take(tenantId: string): Promise<() => void> {
    if (!this.#hasPlaceFor(tenantId)) {
      await new Promise<void>((resolve) => {
        const queue = this.#waiting.get(tenantId) ?? [];
        queue.push(resolve);
        this.#waiting.set(tenantId, queue);
      });
    } else this.#count(tenantId, 1);
    let isGivenBack = false;
    return () => {
      if (isGivenBack) return;
      isGivenBack = true;
      this.#count(tenantId, -1);
      this.#serveNext();
    };
  }

  #hasPlaceFor(tenantId: string): boolean {
    return this.#takenCount < this.#total && (this.#taken.get(tenantId) ?? 0) < this.#perTenant;
  }

  #serveNext(): void {
    for (const [tenantId, queue] of this.#waiting) {
      if (!this.#hasPlaceFor(tenantId)) continue;
      const resolve = queue.shift();
      this.#waiting.delete(tenantId);
      if (queue.length > 0) this.#waiting.set(tenantId, queue);
      if (resolve === undefined) continue;
      // Counted before it runs, so that nobody takes the same place meanwhile.
      this.#count(tenantId, 1);
      resolve();
      return;
    }
  }

  #count(tenantId: string, by: number): void {
    this.#takenCount += by;
    const count = (this.#taken.get(tenantId) ?? 0) + by;
    if (count === 0) this.#taken.delete(tenantId);
    else this.#taken.set(tenantId, count);
  }
}
