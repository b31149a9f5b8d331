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

  /** Counts an attempt as failed until it is known better, so that attempts side by side do not pass together. Throws `rate-limited`. */
  begin(account: string, address: string): LoginAttempt {
    const accountKey = `account ${createHash('sha256').update(account).digest('base64')}`;
    const failures = this.#window(accountKey);
    const logins = this.#window(`logins ${accountKey}`);
    const ofAddress = this.#window(`address ${networkOf(address)}`);
    assertBelow(failures, ACCOUNT_FAILURES_MAX, this.#monotonicNow());
    assertBelow(logins, ACCOUNT_LOGINS_MAX, this.#monotonicNow());
    assertBelow(ofAddress, ADDRESS_FAILURES_MAX, this.#monotonicNow());
    failures.count += 1;
    ofAddress.count += 1;
    return {
      succeeded: () => {
        failures.count = 0;
        ofAddress.count -= 1;
        logins.count += 1;
      },
      abandoned: () => {
        failures.count -= 1;
        ofAddress.count -= 1;
      },
    };
  }

  #window(key: string): Window {
    const now = this.#monotonicNow();
    const known = this.#windows.get(key);
    if (known !== undefined && known.endsAt > now) return known;
    this.#windows.delete(key);
    if (this.#windows.size >= WINDOWS_MAX) {
      const [oldest] = this.#windows.keys();
      if (oldest !== undefined) this.#windows.delete(oldest);
    }
    const window = { endsAt: now + WINDOW_MS, count: 0 };
    this.#windows.set(key, window);
    return window;
  }
}

function assertBelow({ count, endsAt }: Window, max: number, now: number): void {
  if (count < max) return;
  const retryAfterSeconds = Math.ceil((endsAt - now) / 1_000);
  throw new PlatformError('rate-limited', 'too many attempts to log in', { extensions: { retryAfterSeconds } });
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
