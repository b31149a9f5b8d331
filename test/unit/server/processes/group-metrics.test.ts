import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ChildHandle } from '@guidon/server/processes/child-handle.js';
import { GroupMetrics } from '@guidon/server/processes/group-metrics.js';
import { afterEach, describe, expect, it } from 'vitest';
import { removeTemporaryDirectories, temporaryDirectory, until } from '../../../support/running-node.js';

afterEach(removeTemporaryDirectories);

/** A real process that says nothing, with the counts that it would have reported. */
async function aChild(
  requestCount: number,
  memoryBytes: number,
): Promise<{ child: ChildHandle; gone: Promise<string> }> {
  const entry = join(await temporaryDirectory(), 'silent.mjs');
  await writeFile(entry, 'process.on("message", () => {}); setTimeout(() => process.exit(2), 20_000);');
  let onGone: (how: string) => void = () => undefined;
  const gone = new Promise<string>((resolve) => {
    onGone = resolve;
  });
  const options = {
    dataDirectory: '',
    controlPlaneUrl: '',
    nodeCredential: '',
    host: '',
    logLevel: 'silent',
    processIndex: 0,
  };
  const child = new ChildHandle(entry, options, { message: () => undefined, exit: (_, how) => onGone(how) });
  const sample = (name: string, value: number) => ({ name, labels: {}, value });
  child.families = [
    {
      name: 'guidon_http_requests_total',
      help: '',
      type: 'counter',
      join: 'sum',
      samples: [sample('guidon_http_requests_total', requestCount)],
    },
    { name: 'bytes', help: '', type: 'gauge', join: 'sum', samples: [sample('bytes', memoryBytes)] },
  ];
  return { child, gone };
}

describe('GroupMetrics', () => {
  it('a sum of counters does not fall when a process goes, a gauge goes with it', async () => {
    const metrics = new GroupMetrics();
    const [first, second] = [await aChild(5, 100), await aChild(7, 200)];
    const valuesOf = (children: (ChildHandle | undefined)[], name: string) =>
      metrics
        .join(
          children.map((child) => ({ child, startCount: 1 })),
          undefined,
        )
        .find((family) => family.name === name)
        ?.samples.map(({ value }) => value);
    try {
      expect(valuesOf([first.child, second.child], 'guidon_http_requests_total')).toEqual([12]);
      first.child.kill();
      expect(await first.gone).toBe('SIGKILL');
      metrics.depart(first.child);
      expect(valuesOf([undefined, second.child], 'guidon_http_requests_total')).toEqual([12]);
      expect(valuesOf([undefined, second.child], 'bytes')).toEqual([200]);
      expect(valuesOf([undefined, second.child], 'guidon_process_requests')).toEqual([0, 7]);
    } finally {
      second.child.kill();
      await second.gone;
    }
  });
});

describe('ChildHandle', () => {
  it('ping() counts pings, not time: a parent that was stopped itself ends nobody', async () => {
    const { child, gone } = await aChild(0, 0);
    try {
      child.state = 'listening';
      expect([1, 2, 3, 4].map(() => child.ping(500, 2_000))).toEqual([false, false, false, false]);
      expect(child.ping(500, 2_000)).toBe(true);
    } finally {
      child.kill();
      await gone;
    }
  });

  it('send() refuses what a stopped process does not take, instead of keeping it (I25)', async () => {
    const { child, gone } = await aChild(0, 0);
    try {
      process.kill(child.pid, 'SIGSTOP');
      const behind = ['x'.repeat(64 * 1024)];
      let sentCount = 0;
      await until('refused', () => {
        while (sentCount < 1_000 && child.send({ type: 'confirmed', behind })) sentCount += 1;
        return true;
      });
      expect(sentCount).toBeGreaterThan(0);
      expect(sentCount).toBeLessThan(1_000);
    } finally {
      child.kill();
      await gone;
    }
  });
});
