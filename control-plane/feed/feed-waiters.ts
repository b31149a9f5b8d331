import { PlatformError, type TenantId } from '@guidon/protocol';
import type { Feed } from './feed.js';

/** Requests that wait for something new: of all tenants, and of one, so that none takes the places of the others. */
export const WAITERS_MAX = 4_096;
export const TENANT_WAITERS_MAX = 64;

/** Who follows a feed by a long poll or a stream. One more than may wait is refused; at the end of the process all go. */
export class FeedWaiters {
  readonly #admitted = new Map<TenantId, number>();
  readonly #wakes = new Map<TenantId, Set<() => void>>();
  #count = 0;
  #isClosing = false;

  constructor(feed: Feed) {
    feed.onAppended((tenantId) => {
      for (const wake of this.#wakes.get(tenantId) ?? []) wake();
    });
  }

  /** How many there are now. */
  get count(): number {
    return this.#count;
  }

  get isClosing(): boolean {
    return this.#isClosing;
  }

  /** Takes a place until what it answers is called; throws `rate-limited` when there is none. */
  admit(tenantId: TenantId): () => void {
    const count = this.#admitted.get(tenantId) ?? 0;
    if (count >= TENANT_WAITERS_MAX || this.#count >= WAITERS_MAX) {
      throw new PlatformError('rate-limited', 'too many requests follow the feed already', {
        extensions: { limit: 'feedReaders', allowed: TENANT_WAITERS_MAX, retryAfterSeconds: 5 },
      });
    }
    this.#count += 1;
    this.#admitted.set(tenantId, count + 1);
    let isAdmitted = true;
    return () => {
      if (!isAdmitted) return;
      isAdmitted = false;
      this.#count -= 1;
      const left = (this.#admitted.get(tenantId) ?? 1) - 1;
      if (left === 0) this.#admitted.delete(tenantId);
      else this.#admitted.set(tenantId, left);
    };
  }

  /** Resolves with true when the tenant has new rows, the reader is gone or the process ends, with false after `ms`; never rejects. */
  wait(tenantId: TenantId, ms: number, gone: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = (isWoken: boolean): void => {
        clearTimeout(timer);
        gone.removeEventListener('abort', end);
        const wakes = this.#wakes.get(tenantId);
        wakes?.delete(end);
        if (wakes?.size === 0) this.#wakes.delete(tenantId);
        resolve(isWoken);
      };
      const end = (): void => settle(true);
      const timer = setTimeout(() => settle(false), ms);
      gone.addEventListener('abort', end);
      const wakes = this.#wakes.get(tenantId) ?? new Set();
      this.#wakes.set(tenantId, wakes.add(end));
      if (gone.aborted || this.#isClosing) end();
    });
  }

  /** Lets everybody who waits go. */
  close(): void {
    this.#isClosing = true;
    for (const wakes of this.#wakes.values()) for (const wake of wakes) wake();
  }
}
