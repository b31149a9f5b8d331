import { Exposures } from '@guidon/browser-sdk/exposures.js';
import type { Event } from '@guidon/protocol/events';
import { EventIds, type FlagDetails } from '@guidon/sdk-core';
import { describe, expect, it } from 'vitest';

const served = (variation: string): FlagDetails => ({
  value: variation,
  variation,
  reason: 'SPLIT',
  revision: 1,
  flagMetadata: {},
});

describe('Exposures', () => {
  it('tells whenever a flag serves another variation than last, also the one of before, and anew for another context', () => {
    const events: Event[] = [];
    const exposures = new Exposures(new EventIds(), (event) => events.push(event));
    exposures.used('gate', served('on'));
    exposures.setContext({ targetingKey: 'a' });
    for (const variation of ['on', 'on', 'off', 'off', 'on']) exposures.used('gate', served(variation));
    exposures.used('other', served('on'));
    exposures.setContext({ targetingKey: 'b' });
    exposures.used('gate', served('on'));
    const told = events.map(
      (event) => event.kind === 'exposure' && [event.context.targetingKey, event.flag, event.variation],
    );
    expect(told).toEqual([
      ['a', 'gate', 'on'],
      ['a', 'gate', 'off'],
      ['a', 'gate', 'on'],
      ['a', 'other', 'on'],
      ['b', 'gate', 'on'],
    ]);
  });
});
