import { PlatformError } from '@guidon/protocol';
import { isOfType, ListenerSet } from '@guidon/sdk-core';
import { describe, expect, test } from 'vitest';

describe('ListenerSet', () => {
  test('tell() reaches everybody, also behind one that throws', () => {
    const thrown: unknown[] = [];
    const heard: string[] = [];
    const listeners = new ListenerSet<[string]>((error) => thrown.push(error));
    const failure = new Error('mine');
    listeners.add(() => {
      throw failure;
    });
    listeners.add((text) => heard.push(text));
    listeners.tell('now');
    expect(heard).toEqual(['now']);
    expect(thrown).toEqual([failure]);
  });

  test('a listener that is added or removed while others are told counts from the next time on', () => {
    const heard: string[] = [];
    const listeners = new ListenerSet<[string]>(() => undefined);
    const removeFirst = listeners.add(() => {
      listeners.add((text) => heard.push(`late ${text}`));
      removeLast();
    });
    const removeLast = listeners.add((text) => heard.push(`last ${text}`));
    listeners.tell('one');
    expect(heard).toEqual(['last one']);
    removeFirst();
    listeners.tell('two');
    expect(heard).toEqual(['last one', 'late two']);
  });

  test('add() of the same function twice tells twice; removing one leaves the other', () => {
    let count = 0;
    const listeners = new ListenerSet<[]>(() => undefined);
    const listener = () => {
      count += 1;
    };
    const remove = listeners.add(listener);
    listeners.add(listener);
    listeners.tell();
    remove();
    remove();
    listeners.tell();
    expect(count).toBe(3);
    listeners.clear();
    listeners.tell();
    expect(count).toBe(3);
  });

  test('add() over its bound is refused with limit-exceeded', () => {
    const listeners = new ListenerSet<[]>(() => undefined);
    for (let count = 0; count < 10_000; count += 1) listeners.add(() => undefined);
    expect(() => listeners.add(() => undefined)).toThrow(PlatformError);
    expect(listeners.count).toBe(10_000);
  });
});

describe('isOfType()', () => {
  test.each([
    [true, 'boolean', true],
    ['true', 'boolean', false],
    [0, 'number', true],
    ['', 'string', true],
    [null, 'json', true],
    [[], 'json', true],
    [{}, 'json', true],
    ['{}', 'json', false],
    [null, 'string', false],
    [{}, 'number', false],
  ] as const)('%j as %s: %s', (value, type, expected) => {
    expect(isOfType(value, type)).toBe(expected);
  });
});
