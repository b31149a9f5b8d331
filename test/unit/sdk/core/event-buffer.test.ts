import { EventBuffer, EventIds } from '@guidon/sdk-core';
import { describe, expect, test } from 'vitest';

const bufferOf = (countMax: number, batchCountMax: number, batchBytesMax = 1_000) =>
  new EventBuffer({ countMax, batchCountMax, batchBytesMax });

describe('EventBuffer', () => {
  test('batch() gives the oldest first, and the same batch until it is settled', () => {
    const buffer = bufferOf(10, 2);
    for (const event of [1, 2, 3]) buffer.add(event);
    expect(buffer.batch()).toEqual(['1', '2']);
    buffer.add(4);
    expect(buffer.batch()).toEqual(['1', '2']);
    expect(buffer.count).toBe(4);
    buffer.settle();
    expect(buffer.batch()).toEqual(['3', '4']);
    buffer.settle();
    expect(buffer.batch()).toEqual([]);
    expect(buffer.count).toBe(0);
  });

  test('add() drops the oldest that waits at its bound, counts it, and leaves the batch under way alone', () => {
    const buffer = bufferOf(3, 2);
    for (let event = 1; event <= 3; event += 1) buffer.add(event);
    expect(buffer.batch()).toEqual(['1', '2']);
    for (let event = 4; event <= 9; event += 1) buffer.add(event);
    expect(buffer.droppedCount).toBe(4);
    expect(buffer.count).toBe(5);
    expect(buffer.batch()).toEqual(['1', '2']);
    buffer.settle();
    expect(buffer.batch()).toEqual(['7', '8']);
    buffer.settle();
    expect(buffer.batch()).toEqual(['9']);
  });

  test('refuse() counts the batch as dropped and goes on with the next', () => {
    const buffer = bufferOf(10, 2);
    for (const event of [1, 2, 3]) buffer.add(event);
    buffer.batch();
    buffer.refuse();
    expect(buffer.droppedCount).toBe(2);
    expect(buffer.batch()).toEqual(['3']);
  });

  test('a batch is no larger than its bytes, whatever its events are', () => {
    const buffer = bufferOf(100, 50, 20);
    for (const event of ['ääää', 'öööö', 'bbb', 'ccc', 'ddd', 'eee']) buffer.add(event);
    for (const batch of [['ääää'], ['öööö', 'bbb'], ['ccc', 'ddd', 'eee'], []]) {
      expect(buffer.batch()).toEqual(batch.map((event) => `"${event}"`));
      buffer.settle();
    }
    expect(buffer.droppedCount).toBe(0);
  });

  test('what can never be sent is dropped at once, and holds up nothing', () => {
    const buffer = bufferOf(10, 10, 100);
    const cyclic: { self?: unknown } = {};
    cyclic.self = cyclic;
    const changed = { list: ['before'] };
    const events = ['first', cyclic, { value: 10n }, undefined, 'x'.repeat(98), changed, 'last'];
    expect(events.map((event) => buffer.add(event))).toEqual([true, false, false, false, false, true, true]);
    changed.list.push('after');
    expect(buffer.batch()).toEqual(['"first"', '{"list":["before"]}', '"last"']);
    expect(buffer.droppedCount).toBe(4);
  });

  test('nothing is lost or repeated over many turns of the ring', () => {
    const buffer = bufferOf(7, 3);
    const sent: string[] = [];
    let next = 0;
    for (let round = 0; round < 500; round += 1) {
      for (let count = 0; count < (round * 5) % 7; count += 1) {
        buffer.add(next);
        next += 1;
      }
      while (buffer.batch().length > 0) {
        sent.push(...buffer.batch());
        buffer.settle();
      }
    }
    expect(buffer.droppedCount).toBe(0);
    expect(sent).toEqual(Array.from({ length: next }, (_, index) => String(index)));
  });

  test.each([
    [0, 1],
    [1, 0],
    [Number.NaN, 1],
  ])('a buffer of %d in batches of %d is refused', (countMax, batchCountMax) => {
    expect(() => bufferOf(countMax, batchCountMax)).toThrow(RangeError);
  });
});

describe('EventIds', () => {
  test('next() never repeats, within a sender and between two', () => {
    const senders = [new EventIds(), new EventIds()];
    const ids = senders.flatMap((sender) => Array.from({ length: 1_000 }, () => sender.next()));
    expect(new Set(ids).size).toBe(2_000);
    for (const id of ids) expect(id).toMatch(/^[A-Za-z0-9_-]{16}-[0-9a-z]{1,9}$/);
  });
});
