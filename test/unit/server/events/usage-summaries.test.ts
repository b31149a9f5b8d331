import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RevisionUsage } from '@guidon/engine';
import { parseEnvironmentRef } from '@guidon/protocol';
import { decodeEventMessage, EVENT_LINES_BYTES_MAX } from '@guidon/protocol/events';
import { EventSpool } from '@guidon/server/events/event-spool.js';
import { UsageSummaries } from '@guidon/server/events/usage-summaries.js';
import { pino } from 'pino';
import { expect, it } from 'vitest';

const ENVIRONMENT_COUNT = 800;
const FLAGS = Array.from({ length: 200 }, (_, index) => `flag-${index}-${'x'.repeat(40)}`);

it('spools what all environments of a large node have counted, however much that is together', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'guidon-summaries-'));
  const spool = new EventSpool({ directory, logger: pino({ level: 'silent' }), segmentMs: 60_000 });
  const slots = Array.from({ length: ENVIRONMENT_COUNT }, (_, index) => ({
    environment: parseEnvironmentRef({ tenantId: 'ten_1', projectId: 'prj_1', environmentId: `env_${index}` }),
  }));
  const usage: RevisionUsage[] = [
    { revision: 1, flags: FLAGS.map((flag) => ({ flag, variations: { on: 3 }, errors: {} })), unknown: {} },
  ];
  const kernel = { sweepUsage: () => undefined, evaluationsOf: () => 600, drainUsage: () => usage };
  const summaries = new UsageSummaries({ kernel, spool, slots: () => slots, now: () => 1_700_000_000_000 });

  await summaries.collect();
  await spool.flush();

  const sealed = await spool.sealed();
  expect(sealed.reduce((sum, { bytes }) => sum + bytes, 0)).toBeGreaterThan(8 * 1024 * 1024);
  expect(Math.max(...sealed.map(({ bytes }) => bytes))).toBeLessThan(EVENT_LINES_BYTES_MAX);
  const lines = (await Promise.all(sealed.map((segment) => spool.read(segment)))).flat();
  const told = new Set(lines.map((line) => decodeEventMessage(line).environment.environmentId));
  expect(told.size).toBe(ENVIRONMENT_COUNT);
  rmSync(directory, { recursive: true });
});

it('sums up what an environment counts from nothing when it comes back, and asks for no counts where there are none', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'guidon-summaries-'));
  const spool = new EventSpool({ directory, logger: pino({ level: 'silent' }), segmentMs: 60_000 });
  const environment = parseEnvironmentRef({ tenantId: 'ten_1', projectId: 'prj_1', environmentId: 'env_1' });
  let slots = [{ environment }];
  let drainedCount = 0;
  const drainUsage = (): RevisionUsage[] => {
    drainedCount += 1;
    return [{ revision: 1, flags: [{ flag: 'gate', variations: { on: 3 }, errors: {} }], unknown: {} }];
  };
  const kernel = { sweepUsage: () => undefined, evaluationsOf: () => 600, drainUsage };
  const summaries = new UsageSummaries({ kernel, spool, slots: () => slots, now: () => 1_700_000_000_000 });
  await summaries.collect();
  await summaries.collect();
  expect(drainedCount).toBe(1);
  slots = [];
  await summaries.collect();
  // The count of a slot that was given up begins anew; that it is the same number as before says nothing.
  slots = [{ environment }];
  await summaries.collect();
  expect(drainedCount).toBe(2);
  await spool.flush();
  rmSync(directory, { recursive: true });
});
