import { ProjectLocks } from '@guidon/control-plane/commit/project-locks.js';
import { describe, expect, test } from 'vitest';

/** Runs changes and writes down when each starts and ends; a change ends when it is told to. */
function makeRecorder(locks: ProjectLocks) {
  const log: string[] = [];
  const enders = new Map<string, () => void>();
  const run = (name: string, projectId: string, environmentId?: string): Promise<void> => {
    const scope = environmentId === undefined ? { projectId } : { projectId, environmentId };
    return locks.run(scope, async () => {
      log.push(`${name}+`);
      await new Promise<void>((resolve) => enders.set(name, resolve));
      log.push(`${name}-`);
    });
  };
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  const end = async (name: string) => {
    enders.get(name)?.();
    await settle();
  };
  return { log, run, end, settle };
}

describe('ProjectLocks.run()', () => {
  test('changes of one environment run one after another, of two at once', async () => {
    const { log, run, end, settle } = makeRecorder(new ProjectLocks());
    const all = [run('a1', 'p', 'a'), run('a2', 'p', 'a'), run('b1', 'p', 'b'), run('q', 'q', 'a')];
    await settle();
    expect(log).toEqual(['a1+', 'b1+', 'q+']);
    await end('a1');
    expect(log).toEqual(['a1+', 'b1+', 'q+', 'a1-', 'a2+']);
    for (const name of ['a2', 'b1', 'q']) await end(name);
    await Promise.all(all);
  });

  test('a change of the project waits for all of its environments and holds back those that come later', async () => {
    const { log, run, end, settle } = makeRecorder(new ProjectLocks());
    const all = [run('a', 'p', 'a'), run('b', 'p', 'b'), run('P', 'p'), run('c', 'p', 'c'), run('Q', 'p')];
    await settle();
    expect(log).toEqual(['a+', 'b+']);
    await end('b');
    await end('a');
    expect(log.at(-1)).toBe('P+');
    await end('P');
    expect(log.slice(-2)).toEqual(['P-', 'c+']);
    await end('c');
    expect(log.at(-1)).toBe('Q+');
    await end('Q');
    await Promise.all(all);
  });

  test('a change that fails lets the next one in and reports its own failure', async () => {
    const locks = new ProjectLocks();
    const scope = { projectId: 'p', environmentId: 'a' };
    const failing = locks.run(scope, () => Promise.reject(new Error('refused')));
    const next = locks.run(scope, () => Promise.resolve('next'));
    await expect(failing).rejects.toThrow('refused');
    await expect(next).resolves.toBe('next');
  });
});
