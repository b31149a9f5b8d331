import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ControlStore } from '@guidon/control-plane/store/control-store.js';
import { KeySpellings } from '@guidon/control-plane/store/key-spellings.js';
import { keys } from '@guidon/control-plane/store/keys.js';
import { parseTenantId } from '@guidon/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const tenantId = parseTenantId('ten_1');
let directory: string;
let store: ControlStore;
let spellings: KeySpellings;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'guidon-spellings-'));
  store = await ControlStore.open({ directory, mapBytes: 1 << 30 });
  spellings = new KeySpellings();
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

const add = (flagKey: string, project = 'p') =>
  store.transaction((transaction) => transaction.put(keys.flag(tenantId, project, flagKey), 1));
const assertFree = (flagKey: string, project = 'p') =>
  spellings.assertFree(store, keys.flags(tenantId, project), flagKey, (key) =>
    store.has(keys.flag(tenantId, project, key)),
  );
const refusal = expect.objectContaining({ code: 'validation-failed' });

describe('KeySpellings.assertFree()', () => {
  test('knows what was there before it was first asked', async () => {
    await add('Checkout');
    expect(() => assertFree('checkout')).toThrow(refusal);
    expect(() => assertFree('checkout', 'q')).not.toThrow();
    expect(() => assertFree('Checkout')).not.toThrow();
    expect(() => assertFree('checkout.2')).not.toThrow();
  });

  test('knows what was asked for since, as long as it is there', async () => {
    assertFree('Checkout');
    // Nobody has written it.
    expect(() => assertFree('checkout')).not.toThrow();
    await add('Checkout');
    expect(() => assertFree('cHeckout')).toThrow(refusal);
    await store.transaction((transaction) => transaction.remove(keys.flag(tenantId, 'p', 'Checkout')));
    expect(() => assertFree('cHeckout')).not.toThrow();
  });

  test('reads again what it had to forget (I25)', async () => {
    assertFree('Checkout');
    await add('Checkout');
    for (let index = 0; index < 300; index += 1) assertFree('x', `q${index}`);
    expect(() => assertFree('checkout')).toThrow(refusal);
  });
});
