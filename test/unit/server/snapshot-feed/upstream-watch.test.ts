import { PlatformError } from '@guidon/protocol';
import { UpstreamWatch } from '@guidon/server/snapshot-feed/upstream-watch.js';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

let asked: string[];
let answers: (string | PlatformError)[];
let resumedCount: number;
let stop: () => void;
let watch: UpstreamWatch;

beforeEach(() => {
  vi.useFakeTimers();
  [asked, answers, resumedCount] = [[], [], 0];
  watch = new UpstreamWatch((root) => {
    asked.push(root);
    const answer = answers.shift();
    if (answer === undefined) return new Promise(() => undefined);
    return answer instanceof PlatformError ? Promise.reject(answer) : Promise.resolve(answer);
  });
});
afterEach(() => {
  stop();
  vi.useRealTimers();
});

function subscribe(...given: (string | PlatformError)[]): Promise<unknown> {
  answers = given;
  stop = watch.subscribe({
    message: () => expect.fail('it brings no messages'),
    resumed: () => {
      resumedCount += 1;
    },
  });
  return vi.advanceTimersByTimeAsync(2_000);
}

describe('UpstreamWatch', () => {
  it('asks with what it was told last, and says so when it is another root', async () => {
    await subscribe('r1', 'r1', 'r2');
    expect(asked).toEqual(['', 'r1', 'r1', 'r2']);
    expect(resumedCount).toBe(2);
    expect(watch.status().isConnected).toBe(true);
  });

  it('does not ask all the time when every answer is another one', async () => {
    await subscribe(...Array.from({ length: 1_000 }, (_, index) => `r${index}`));
    expect(asked.length).toBeLessThanOrEqual(41);
  });

  it('tries again when the upstream is gone, and says what is wrong', async () => {
    await subscribe(new PlatformError('not-ready', 'gone'), 'r1');
    expect([asked.length >= 2, resumedCount, watch.status().isConnected]).toEqual([true, 1, true]);
  });

  it('asks an upstream that does not know the question a minute later', async () => {
    await subscribe(new PlatformError('not-found', 'the source answered 404'), 'r1');
    expect([asked.length, watch.status()]).toMatchObject([
      1,
      { isConnected: false, detail: 'the source answered 404' },
    ]);
    await vi.advanceTimersByTimeAsync(60_000);
    expect([asked.length, resumedCount]).toEqual([3, 1]);
  });

  it('says nothing after it was stopped', async () => {
    await subscribe();
    stop();
    await vi.advanceTimersByTimeAsync(60_000);
    expect([asked.length, resumedCount]).toEqual([1, 0]);
  });
});
