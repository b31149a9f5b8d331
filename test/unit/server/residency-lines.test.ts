import { type EnvironmentRef, parseEnvironmentRef } from '@guidon/protocol';
import { EnvironmentSlot } from '@guidon/server/environment-slot.js';
import { SnapshotResidency } from '@guidon/server/snapshot-residency.js';
import { describe, expect, it } from 'vitest';

/** One tenant whose cold environments take for ever to load, and what that is to another one (I17). */
const MIB = 1024 * 1024;

function coldSlot(tenantId: string, index: number): EnvironmentSlot {
  const environment: EnvironmentRef = parseEnvironmentRef({
    tenantId,
    projectId: `${tenantId}-p`,
    environmentId: `${tenantId}-e${index}`,
  });
  const slot = new EnvironmentSlot(environment, 0);
  slot.keepCold({ epoch: 1, revision: 1, digest: '' });
  return slot;
}

interface Subject {
  readonly residency: SnapshotResidency;
  /** Environments whose load has begun, in order. */
  readonly begun: EnvironmentSlot[];
  /** Ends all loads that have begun; nothing serves afterwards, so those who wait are told so. */
  readonly endLoads: () => Promise<void>;
  readonly ask: (slot: EnvironmentSlot, bodyBytes?: number) => Promise<string>;
}

function subject(): Subject {
  const begun: EnvironmentSlot[] = [];
  const enders: (() => void)[] = [];
  const residency = new SnapshotResidency({
    bytesMax: MIB,
    usedBytes: () => 0,
    load: (slot) => {
      begun.push(slot);
      return new Promise((resolve) => {
        enders.push(() => {
          slot.clear();
          resolve();
        });
      });
    },
  });
  return {
    residency,
    begun,
    endLoads: async () => {
      for (const end of enders.splice(0)) end();
      await new Promise(setImmediate);
    },
    ask: (slot, bodyBytes = 100) =>
      residency
        .whenResident(slot, bodyBytes, () => 'resident')
        .catch((error: unknown) => (error instanceof Error && 'code' in error ? String(error.code) : 'unexpected')),
  };
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise(setImmediate);
}

describe('SnapshotResidency', () => {
  it("lets one tenant fill its own line, not everybody's", async () => {
    const { residency, ask, endLoads, begun } = subject();
    const slots = Array.from({ length: 40 }, (_, index) => coldSlot('a', index));
    const waiting = Array.from({ length: 512 }, (_, index) => ask(slots[index % slots.length] ?? coldSlot('a', 0)));
    expect(await ask(coldSlot('a', 99))).toBe('overloaded');
    expect(residency.waitingCount).toBe(512);
    const other = ask(coldSlot('b', 0));
    expect(residency.waitingCount).toBe(513);
    while (begun.length < 41) await endLoads();
    await endLoads();
    expect(await other).toBe('not-ready');
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['not-ready']));
    expect(residency.waitingCount).toBe(0);
    expect(residency.counters).toMatchObject({ refusedWaits: 1, failedReloads: 41 });
  });

  it('bounds the bytes of one tenant, too', async () => {
    const { ask, endLoads } = subject();
    const slot = coldSlot('a', 0);
    const waiting = Array.from({ length: 4 }, () => ask(slot, 4 * MIB));
    expect(await ask(slot, 1)).toBe('overloaded');
    const other = ask(coldSlot('b', 0), 4 * MIB);
    await turns(3);
    await endLoads();
    expect(await Promise.all([...waiting, other])).toEqual(Array(5).fill('not-ready'));
    expect(await ask(slot, 1)).toBe('not-ready');
  });

  it('begins each load in a turn of the event loop of its own, so that those who wait for none are answered between', async () => {
    const { ask, begun, endLoads } = subject();
    const waiting = ['a', 'a', 'b', 'c'].map((tenantId, index) => ask(coldSlot(tenantId, index)));
    const counts = [begun.length];
    while (begun.length < 4) {
      await turns(1);
      counts.push(begun.length);
    }
    expect(counts.filter((count, turn) => count - (counts[turn - 1] ?? 0) > 1)).toEqual([]);
    await endLoads();
    expect(await Promise.all(waiting)).toEqual(Array(4).fill('not-ready'));
  });

  it("begins a tenant's load behind four of another's, however many those are", async () => {
    const { ask, begun, endLoads } = subject();
    const waiting = Array.from({ length: 40 }, (_, index) => ask(coldSlot('a', index)));
    const slot = coldSlot('b', 0);
    waiting.push(ask(slot));
    await turns(6);
    expect(begun).toHaveLength(5);
    expect(begun.at(-1)).toBe(slot);
    while (begun.length < 41) await endLoads();
    await endLoads();
    expect(await Promise.all(waiting)).toEqual(Array(41).fill('not-ready'));
  });
});
