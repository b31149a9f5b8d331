import { Semaphore, SerialQueue } from '@guidon/server/snapshot-feed/serial-queue.js';
import { describe, expect, it } from 'vitest';

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('SerialQueue', () => {
  it('run() keeps the order, one at a time, whatever fails', async () => {
    const queue = new SerialQueue(10);
    const log: string[] = [];
    const task =
      (name: string, fails = false) =>
      async () => {
        log.push(`${name} starts`);
        await turn();
        log.push(`${name} ends`);
        if (fails) throw new Error(name);
        return name;
      };
    const outcomes = await Promise.allSettled([queue.run(task('a')), queue.run(task('b', true)), queue.run(task('c'))]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(log).toEqual(['a starts', 'a ends', 'b starts', 'b ends', 'c starts', 'c ends']);
  });

  it('run() takes no more than its bound (I25), and takes again when there is room', async () => {
    const queue = new SerialQueue(2);
    const first = queue.run(turn);
    const second = queue.run(turn);
    expect(queue.run(turn)).toBeUndefined();
    await Promise.all([first, second]);
    expect(queue.count).toBe(0);
    await expect(queue.run(() => Promise.resolve('again'))).resolves.toBe('again');
  });
});

describe('Semaphore', () => {
  it('run() lets only so many run at once, and gives its place back after a failure', async () => {
    const semaphore = new Semaphore(2);
    let running = 0;
    let most = 0;
    const task = async (index: number) => {
      running += 1;
      most = Math.max(most, running);
      await turn();
      running -= 1;
      if (index % 3 === 0) throw new Error('x');
    };
    await Promise.allSettled(Array.from({ length: 20 }, (_, index) => semaphore.run(() => task(index))));
    expect(most).toBe(2);
    await expect(semaphore.run(() => Promise.resolve(1))).resolves.toBe(1);
  });
});
