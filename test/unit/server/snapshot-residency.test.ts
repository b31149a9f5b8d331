import { compileSnapshot } from '@guidon/engine';
import { parseEnvironmentRef } from '@guidon/protocol';
import { EnvironmentSlot } from '@guidon/server/environment-slot.js';
import { SnapshotKernel } from '@guidon/server/snapshot-kernel.js';
import { SnapshotResidency } from '@guidon/server/snapshot-residency.js';
import pino from 'pino';
import { describe, expect, it } from 'vitest';
import { aFlag } from '../../support/flag-sets.js';

async function aCold(kernel: SnapshotKernel, name: string) {
  const environment = parseEnvironmentRef({ tenantId: 't', projectId: 'p', environmentId: name });
  const flags = new Map([['flag', aFlag('flag', { salt: name })]]);
  const { compiled } = compileSnapshot(
    { flags, segments: new Map(), segmentKeys: new Map() },
    { environment, revision: 1 },
  );
  if (compiled === undefined) throw new Error('the flag does not compile');
  const { snapshot } = compiled;
  const slot = new EnvironmentSlot(environment, 0);
  slot.keepCold({ epoch: 1, revision: 1, digest: '' });
  const load = async (residency: SnapshotResidency) => {
    const resident = await kernel.load(snapshot);
    /** As the feed does it: in one turn with what else has been loaded. */
    return () => {
      slot.activate({ environment, epoch: 1, revision: 1, digest: '', resident });
      residency.admit(slot, () => {
        slot.evict();
        kernel.release(resident);
      });
    };
  };
  return { slot, load };
}

describe('SnapshotResidency', () => {
  it('what requests wait for stays until they have used it, then the budget holds again', async () => {
    const kernel = await SnapshotKernel.create(pino({ level: 'silent' }), {});
    const [wanted, other] = [await aCold(kernel, 'wanted'), await aCold(kernel, 'other')];
    let loadCount = 0;
    const residency: SnapshotResidency = new SnapshotResidency({
      // Room for none: one fits all the same.
      bytesMax: 1,
      usedBytes: () => kernel.snapshotBytes(),
      load: async () => {
        loadCount += 1;
        const [show, showOther] = [await wanted.load(residency), await other.load(residency)];
        show();
        showOther();
      },
    });
    const revisions = await Promise.all(
      Array.from({ length: 3 }, () => residency.whenResident(wanted.slot, 10, () => wanted.slot.active?.revision)),
    );
    expect(revisions).toEqual([1, 1, 1]);
    expect(loadCount).toBe(1);
    expect(residency.residentCount).toBe(1);
    expect(wanted.slot.active).toBeDefined();
    expect(other.slot.active).toBeUndefined();
  });
});
