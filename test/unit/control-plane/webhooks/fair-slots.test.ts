import { FairSlots } from '@guidon/control-plane/webhooks/fair-slots.js';
import { expect, test } from 'vitest';

/** Lets everything that can go on go on. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

test('FairSlots never lets more in than there are places, in all and per tenant', async () => {
  const slots = new FairSlots({ total: 3, perTenant: 2 });
  const inside: string[] = [];
  const releases: (() => void)[] = [];
  for (const tenant of ['a', 'a', 'a', 'b', 'b', 'c']) {
    void slots.take(tenant).then((release) => {
      inside.push(tenant);
      releases.push(release);
    });
  }
  await settle();
  expect(inside).toEqual(['a', 'a', 'b']);
  releases[2]?.();
  // Given back twice counts once.
  releases[2]?.();
  await settle();
  expect(inside).toEqual(['a', 'a', 'b', 'b']);
});

test('FairSlots lets tenants take turns, and each in the order it asked', async () => {
  const slots = new FairSlots({ total: 1, perTenant: 1 });
  const order: string[] = [];
  const work = async (name: string): Promise<void> => {
    const release = await slots.take(name.slice(0, 1));
    order.push(name);
    await settle();
    release();
  };
  await Promise.all(['a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'c1'].map(work));
  expect(order).toEqual(['a1', 'a2', 'b1', 'c1', 'a3', 'b2', 'a4']);
});
