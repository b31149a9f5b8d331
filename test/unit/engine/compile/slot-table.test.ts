import { SLOT_DEPTH_MAX } from '@guidon/engine/compile/layout.js';
import { type Slot, SlotCollector, SlotInterner } from '@guidon/engine/compile/slot-table.js';
import { describe, expect, it } from 'vitest';

function pathOf(slot: Slot): string {
  return slot.parent === undefined ? slot.name : `${pathOf(slot.parent)}/${slot.name}`;
}

describe('SlotCollector', () => {
  it('numbers parents first, then by bytes, whatever the order they were added in', () => {
    const interner = new SlotInterner();
    const slots = [
      interner.slotOf('user', ['z']),
      interner.slotOf('organization', ['a']),
      interner.slotOf('user', ['address', 'city']),
      interner.slotOf('user', ['\uffff']),
      interner.slotOf('user', ['🌍']),
      interner.slotOf('user', ['address', '0']),
    ];
    const expected = [
      'organization',
      'user',
      'organization/a',
      'user/address',
      'user/z',
      'user/\uffff',
      'user/🌍',
      'user/address/0',
      'user/address/city',
    ];
    for (const order of [slots, [...slots].reverse(), [...slots, ...slots]]) {
      const collector = new SlotCollector();
      for (const slot of order) collector.add(slot);
      const finished = collector.finish();
      expect(finished.map(pathOf)).toEqual(expected);
      expect(finished.map((slot) => slot.index)).toEqual(expected.map((_, index) => index));
    }
  });

  it('gives one index to one place that two interners know', () => {
    const first = new SlotInterner().slotOf('user', ['age']);
    const second = new SlotInterner().slotOf('user', ['age']);
    const collector = new SlotCollector();
    collector.add(first);
    collector.add(second);
    expect(collector.finish()).toHaveLength(2);
    expect(second.index).toBe(first.index);
  });
});

describe('SlotInterner', () => {
  it('returns the same slot for the same place and cuts paths that no context reaches', () => {
    const interner = new SlotInterner();
    expect(interner.slotOf('user', ['a', 'b'])).toBe(interner.slotOf('user', ['a', 'b']));
    expect(interner.slotOf('user', ['a', 'b'])).not.toBe(interner.slotOf('device', ['a', 'b']));
    expect(interner.slotOf('user', new Array<string>(500).fill('x')).depth).toBeLessThan(SLOT_DEPTH_MAX);
  });
});
