import { FairQueue } from '@guidon/pool/fair-queue.js';
import { describe, expect, it } from 'vitest';

const limits = { countMax: 6, bytesMax: 100, tenantCountMax: 4, tenantBytesMax: 50 };
interface Item {
  readonly name: string;
  readonly byteCount: number;
}
const item = (name: string, byteCount = 1): Item => ({ name, byteCount });

function drain(queue: FairQueue<Item>): string[] {
  const names: string[] = [];
  for (let next = queue.take(); next !== undefined; next = queue.take()) names.push(next.name);
  return names;
}

describe('FairQueue', () => {
  it('takes from the tenants in turn, in order of each (I17)', () => {
    const queue = new FairQueue<Item>(limits);
    for (const name of ['a1', 'a2', 'a3', 'a4']) expect(queue.add('a', item(name))).toBe(true);
    for (const name of ['b1', 'b2']) expect(queue.add('b', item(name))).toBe(true);
    expect(drain(queue)).toEqual(['a1', 'b1', 'a2', 'b2', 'a3', 'a4']);
    expect([queue.count, queue.byteCount]).toEqual([0, 0]);
  });

  it('lets a tenant that comes later in at the second place', () => {
    const queue = new FairQueue<Item>(limits);
    for (const name of ['a1', 'a2', 'a3']) queue.add('a', item(name));
    expect(queue.take()?.name).toBe('a1');
    queue.add('b', item('b1'));
    expect(drain(queue)).toEqual(['a2', 'b1', 'a3']);
  });

  it('is full for a tenant, for all, by number and by bytes (I25)', () => {
    const queue = new FairQueue<Item>(limits);
    for (let index = 0; index < 4; index += 1) expect(queue.add('a', item(`a${index}`))).toBe(true);
    expect(queue.add('a', item('a5'))).toBe(false);
    expect(queue.add('b', item('b1'))).toBe(true);
    expect(queue.add('c', item('c1'))).toBe(true);
    expect(queue.add('d', item('d1'))).toBe(false);
    expect(drain(queue)).toHaveLength(6);

    expect(queue.add('a', item('a1', 50))).toBe(true);
    expect(queue.add('a', item('a2', 1))).toBe(false);
    expect(queue.add('b', item('b1', 49))).toBe(true);
    expect(queue.add('c', item('c1', 2))).toBe(false);
    expect(queue.add('c', item('c1', 1))).toBe(true);
    expect(queue.byteCount).toBe(100);
    expect(drain(queue)).toEqual(['a1', 'b1', 'c1']);
    expect(queue.add('a', item('a1', 50))).toBe(true);
  });

  it('gives up what waits no more, once', () => {
    const queue = new FairQueue<Item>(limits);
    const [first, second] = [item('a1', 20), item('a2', 30)];
    queue.add('a', first);
    queue.add('a', second);
    queue.add('b', item('b1'));
    expect(queue.delete('a', first)).toBe(true);
    expect(queue.delete('a', first)).toBe(false);
    expect(queue.delete('nobody', second)).toBe(false);
    expect([queue.count, queue.byteCount]).toEqual([2, 31]);
    expect(queue.delete('a', second)).toBe(true);
    expect(drain(queue)).toEqual(['b1']);
  });
});
