import type { Bootstrap, ValueStorage } from '@guidon/browser-sdk';
import { StoredValues } from '@guidon/browser-sdk/stored-values.js';
import { afterEach, describe, expect, it, vi } from 'vitest';

class MapStorage implements ValueStorage {
  readonly items = new Map<string, string>();
  readonly getItem = (name: string) => this.items.get(name) ?? null;
  readonly setItem = (name: string, value: string) => void this.items.set(name, value);
  readonly removeItem = (name: string) => void this.items.delete(name);
}

const VALUES: Bootstrap = {
  epoch: 2,
  revision: 7,
  results: [{ flag: 'gate', value: { a: 'é漢🌍' }, variation: 'on', reason: 'SPLIT' }],
};

afterEach(() => {
  vi.useRealTimers();
});

describe('StoredValues', () => {
  it('finds what was saved, under its own name alone', () => {
    const storage = new MapStorage();
    new StoredValues(storage, 'one').save(VALUES);
    expect(new StoredValues(storage, 'one').find()).toEqual(VALUES);
    expect(new StoredValues(storage, 'two').find()).toBeUndefined();
  });

  it('keeps the contexts saved last', () => {
    const storage = new MapStorage();
    for (let count = 0; count < 8; count += 1) new StoredValues(storage, `name-${count}`).save(VALUES);
    new StoredValues(storage, 'name-0').save(VALUES);
    new StoredValues(storage, 'one-more').save(VALUES);
    expect(storage.items.size).toBe(9);
    expect(new StoredValues(storage, 'name-1').find()).toBeUndefined();
    expect(new StoredValues(storage, 'name-0').find()).toEqual(VALUES);
  });

  it('forgets what is older than a month', () => {
    vi.useFakeTimers({ now: 0 });
    const storage = new MapStorage();
    const stored = new StoredValues(storage, 'one');
    stored.save(VALUES);
    vi.setSystemTime(30 * 24 * 3_600_000);
    expect(stored.find()).toEqual(VALUES);
    vi.setSystemTime(30 * 24 * 3_600_000 + 1);
    expect(stored.find()).toBeUndefined();
  });

  it.each([
    'not JSON',
    '7',
    'null',
    '[]',
    '{}',
    '{"at":9e15,"revision":"1","results":[]}',
    '{"at":9e15,"revision":1,"results":{}}',
    '{"at":9e15,"revision":1,"results":[null]}',
    '{"at":9e15,"revision":1,"results":[{"flag":1,"value":1,"reason":"STATIC"}]}',
    '{"at":9e15,"revision":1,"results":[{"flag":"a","value":1}]}',
    '{"revision":1,"results":[]}',
  ])('takes %s for nothing', (text) => {
    const storage = new MapStorage();
    storage.items.set('guidon:one', text);
    expect(new StoredValues(storage, 'one').find()).toBeUndefined();
  });

  it('replaces a damaged index, and leaves storage alone that is full or forbidden', () => {
    const storage = new MapStorage();
    storage.items.set('guidon', '{"not": "names"}');
    new StoredValues(storage, 'one').save(VALUES);
    expect(storage.items.get('guidon')).toBe('["one"]');

    const refuse = (): never => {
      throw new Error('QuotaExceededError');
    };
    const full = new StoredValues({ getItem: refuse, setItem: refuse, removeItem: refuse }, 'one');
    expect(() => full.save(VALUES)).not.toThrow();
    expect(full.find()).toBeUndefined();
  });

  it('does not fill storage with what is too large', () => {
    const storage = new MapStorage();
    const value = 'x'.repeat(512 * 1024);
    new StoredValues(storage, 'one').save({ revision: 1, results: [{ flag: 'a', value, reason: 'STATIC' }] });
    expect(storage.items.size).toBe(0);
  });
});
