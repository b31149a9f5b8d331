import { compileSnapshot, encodeJsonRequest } from '@guidon/engine';
import { parseEnvironmentRef } from '@guidon/protocol';
import { EnvironmentSlot } from '@guidon/server/environment-slot.js';
import { SnapshotKernel } from '@guidon/server/snapshot-kernel.js';
import pino from 'pino';
import { describe, expect, it } from 'vitest';
import { aFlag } from '../../support/flag-sets.js';
import { trapOn } from '../../support/trapping-kernel.js';

const environment = parseEnvironmentRef({ tenantId: 't', projectId: 'p', environmentId: 'e' });
const options = { route: 'evaluate', now: 0, clientSideOnly: false } as const;

async function aKernel(memoryBytesMax?: number) {
  const kernel = await SnapshotKernel.create(
    pino({ level: 'silent' }),
    memoryBytesMax === undefined ? {} : { memoryBytesMax },
  );
  const value = 'v'.repeat(60_000);
  const large = aFlag('large', {
    type: 'string',
    variations: ['yes', 'no', 'off'].map((key) => ({ key, value: value + key })),
  });
  const flags = [aFlag('flag'), large];
  const { compiled } = compileSnapshot(
    { flags: new Map(flags.map((flag) => [flag.key, flag])), segments: new Map(), segmentKeys: new Map() },
    { environment, revision: 1 },
  );
  if (compiled === undefined) throw new Error('the flags do not compile');
  const slot = new EnvironmentSlot(environment, 0);
  const trapped: EnvironmentSlot[] = [];
  kernel.onTrap((one) => trapped.push(one));
  const resident = await kernel.load(compiled.snapshot);
  const active = { environment, epoch: 1, revision: 1, digest: '', resident };
  const ask = (body: unknown) => kernel.evaluate(slot, active, encodeJsonRequest(body), options);
  return { kernel, slot, active, trapped, ask };
}

describe('SnapshotKernel evaluate()', () => {
  it('a memory that is too full for an answer is overload, not a trap', async () => {
    const { kernel, trapped, ask } = await aKernel(5 * 1024 * 1024);
    const asked = Array.from({ length: 60 }, () => 'large');
    expect(() => ask({ flags: asked, context: {} })).toThrow(expect.objectContaining({ code: 'overloaded' }));
    expect(ask({ flags: 'flag', context: {} })).toMatchObject({ status: 'ok' });
    expect(kernel.trapCount).toBe(0);
    expect(trapped).toEqual([]);
  });

  it('what the host throws before the kernel runs is no trap of the snapshot', async () => {
    const { kernel, active, trapped, ask } = await aKernel();
    kernel.release(active.resident);
    expect(() => ask({ flags: 'flag', context: {} })).toThrow('resident');
    expect(kernel.trapCount).toBe(0);
    expect(trapped).toEqual([]);
  });

  it('a trap is counted and told, and the next instance answers (I20)', async () => {
    let isPoisonous = true;
    const stop = trapOn(() => isPoisonous);
    try {
      const { kernel, slot, trapped, ask } = await aKernel();
      expect(ask({ flags: 'flag', context: {} })).toEqual({ status: 'trapped' });
      expect(kernel.trapCount).toBe(1);
      expect(trapped).toEqual([slot]);
      isPoisonous = false;
      const good = await aKernel();
      expect(good.ask({ flags: 'flag', context: {} })).toMatchObject({ status: 'ok' });
    } finally {
      stop();
    }
  });
});
