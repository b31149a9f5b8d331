import { createHash } from 'node:crypto';
import { isIPv6 } from 'node:net';
import { PlatformError } from '@guidon/protocol';

const WINDOW_MS = 15 * 60_000;
/** Attempts that failed, per window. An address may be a whole office. */
export const ACCOUNT_FAILURES_MAX = 10;
export const ADDRESS_FAILURES_MAX = 100;
/** Logins that succeeded, per account and window: each leaves rows and an audit entry. */
export const ACCOUNT_LOGINS_MAX = 60;
/** Beyond it the oldest window is forgotten. */
const WINDOWS_MAX = 20_000;

interface Window {
  readonly endsAt: number;
  count: number;
}

/** One attempt that has been let through; tell it how it ended. */
export interface LoginAttempt {
  succeeded(): void;
  /** It came to no answer, so it counts for nobody. */
  abandoned(): void;
}

/** How often passwords may be tried, for accounts that exist and those that do not alike. Counted in memory: a restart forgives. */
export class LoginLimiter {
  readonly #windows = new Map<string, Window>();
  /** Milliseconds on a clock that nobody sets. */
  readonly #monotonicNow: () => number;

  constructor(monotonicNow: () => number) {
    this.#monotonicNow = monotonicNow;
  }

  /**
   * Counts an attempt as failed until it is known better, so that attempts side by side do not pass together. Throws `rate-limited`. An attempt that
   * is refused, or comes to no answer, leaves no window: who sends many would make the limiter forget the others.
   */
  begin(account: string, address: string): LoginAttempt {
    const accountKey = `account ${createHash('sha256').update(account).digest('base64')}`;
    const loginsKey = `logins ${accountKey}`;
    const addressKey = `address ${networkOf(address)}`;
    this.#assertBelow(addressKey, ADDRESS_FAILURES_MAX);
    this.#assertBelow(accountKey, ACCOUNT_FAILURES_MAX);
    this.#assertBelow(loginsKey, ACCOUNT_LOGINS_MAX);
    this.#count(accountKey, 1);
    this.#count(addressKey, 1);
    return {
      succeeded: () => {
        this.#windows.delete(accountKey);
        this.#count(addressKey, -1);
        this.#count(loginsKey, 1);
      },
      abandoned: () => {
        this.#count(accountKey, -1);
        this.#count(addressKey, -1);
      },
    };
  }

  #find(key: string): Window | undefined {
    const known = this.#windows.get(key);
    return known !== undefined && known.endsAt > this.#monotonicNow() ? known : undefined;
  }

  #assertBelow(key: string, max: number): void {
    const window = this.#find(key);
    if (window === undefined || window.count < max) return;
    const retryAfterSeconds = Math.ceil((window.endsAt - this.#monotonicNow()) / 1_000);
    throw new PlatformError('rate-limited', 'too many attempts to log in', { extensions: { retryAfterSeconds } });
  }

  #count(key: string, by: 1 | -1): void {
    const known = this.#find(key);
    const count = (known?.count ?? 0) + by;
    if (known !== undefined && count > 0) {
      known.count = count;
      return;
    }
    this.#windows.delete(key);
    if (count <= 0) return;
    if (this.#windows.size >= WINDOWS_MAX) {
      const [oldest] = this.#windows.keys();
      if (oldest !== undefined) this.#windows.delete(oldest);
    }
    this.#windows.set(key, { endsAt: this.#monotonicNow() + WINDOW_MS, count });
  }
}

/** Whoever has an IPv6 address has its 64-bit network. */
export function networkOf(address: string): string {
  if (!isIPv6(address) || address.includes('.')) return address;
  const [head = '', tail] = address.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  return [...left, ...Array<string>(zeros).fill('0'), ...right]
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':');
}
