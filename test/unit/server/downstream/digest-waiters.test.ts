import { parseEnvironmentRef } from '@guidon/protocol';
import { EnvironmentDigests } from '@guidon/protocol/signed-config';
import { DigestWaiters, WAITERS_MAX } from '@guidon/server/downstream/digest-waiters.js';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

let digests: EnvironmentDigests;
let waiters: DigestWaiters;
const never = new AbortController().signal;

beforeEach(() => {
  vi.useFakeTimers();
  digests = new EnvironmentDigests();
  waiters = new DigestWaiters(digests);
});
afterEach(() => {
  waiters.close();
  vi.useRealTimers();
});

function change(revision: number): string {
  const environment = parseEnvironmentRef({ tenantId: 't', projectId: 'p', environmentId: 'e' });
  digests.set({ ...environment, epoch: 1, revision, accessSequence: 1 });
  waiters.changed();
  return digests.root();
}

describe('DigestWaiters', () => {
  it('answers at once who has another root', async () => {
    expect(await waiters.wait('', never)).toBe(digests.root());
    expect(waiters.count).toBe(0);
  });

  it('wakes who waits once for changes that come together', async () => {
    const waiting = waiters.wait(digests.root(), never);
    change(1);
    const last = change(2);
    await vi.advanceTimersByTimeAsync(100);
    expect(await waiting).toBe(last);
    expect(waiters.count).toBe(0);
  });

  it('lets who waits wait on when nothing is other than it was', async () => {
    const root = change(1);
    const waiting = waiters.wait(root, never);
    change(1);
    await vi.advanceTimersByTimeAsync(100);
    expect(waiters.count).toBe(1);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(await waiting).toBe(root);
  });

  it('forgets who has gone', async () => {
    const leaving = new AbortController();
    const waiting = waiters.wait(digests.root(), leaving.signal);
    leaving.abort();
    await waiting;
    expect(waiters.count).toBe(0);
  });

  it('is full at its bound, and answers everybody when it closes', async () => {
    const all = Array.from({ length: WAITERS_MAX }, () => waiters.wait(digests.root(), new AbortController().signal));
    expect([waiters.isFull, waiters.count]).toEqual([true, WAITERS_MAX]);
    waiters.close();
    expect(new Set(await Promise.all(all))).toEqual(new Set([digests.root()]));
    expect(waiters.isFull).toBe(false);
    expect(await waiters.wait(digests.root(), never)).toBe(digests.root());
  });
});
