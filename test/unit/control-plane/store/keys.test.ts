import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ControlStore } from '@guidon/control-plane/store/control-store.js';
import { keys, type StoreKey } from '@guidon/control-plane/store/keys.js';
import { decodeRecord, encodeRecord } from '@guidon/control-plane/store/record-codec.js';
import { parseEnvironmentRef, parseTenantId } from '@guidon/protocol';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

let directory: string;
let store: ControlStore;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'guidon-keys-'));
  store = await ControlStore.open({ directory, mapBytes: 1 << 28 });
});
afterAll(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

describe('keys', () => {
  test('a list shows its own rows only, whatever the neighbours are called (I16)', async () => {
    // Names that begin each other, and everything that sorts right before or behind.
    const tenants = ['a', 'a-', 'aa', 'A', 'b', '_', '-', 'a_'].map(parseTenantId);
    const names = ['x', 'x.y', 'x-', 'xx', '0', 'z'.repeat(128), 'project', 'audit'];
    await store.transaction((transaction) => {
      for (const tenantId of tenants) {
        for (const name of names) {
          transaction.put(keys.project(tenantId, name), `${tenantId}/${name}`);
          transaction.put(keys.environment(tenantId, 'p', name), 'environment');
          transaction.put(keys.environment(tenantId, 'p-', name), 'environment');
          const environment = parseEnvironmentRef({
            tenantId,
            projectId: 'p',
            environmentId: `env_${name.slice(0, 9).replace('.', '')}`,
          });
          transaction.put(keys.definition(environment, name), 'definition');
          transaction.put(keys.credential(environment, name), 'credential');
        }
        for (const sequence of [1, 2, 9, 10, 2 ** 33]) transaction.put(keys.audit(tenantId, sequence), sequence);
      }
    });
    for (const tenantId of tenants) {
      const projects = store.list<string>(keys.projects(tenantId)).map(({ value }) => value);
      expect(projects).toEqual([...names].sort().map((name) => `${tenantId}/${name}`));
      expect(store.list(keys.environments(tenantId, 'p'))).toHaveLength(names.length);
      const sequences = store.list<number>(keys.auditEntries(tenantId)).map(({ value }) => value);
      expect(sequences).toEqual([1, 2, 9, 10, 2 ** 33]);
      const newest = store.list<number>(keys.auditEntries(tenantId), { reverse: true, limit: 2 });
      expect(newest.map(({ value }) => value)).toEqual([2 ** 33, 10]);
      const before = store.list<number>(keys.auditEntries(tenantId), { reverse: true, after: 10 });
      expect(before.map(({ value }) => value)).toEqual([9, 2, 1]);
      expect(store.list<number>(keys.auditEntries(tenantId), { after: 2, limit: 2 })).toHaveLength(2);
    }
  });

  test('every tenant row starts with its tenant, every environment row with its environment', () => {
    const environment = parseEnvironmentRef({ tenantId: 't', projectId: 'p', environmentId: 'e' });
    const { tenantId } = environment;
    const ofTenant: StoreKey[] = [
      keys.project(tenantId, 'x'),
      keys.environment(tenantId, 'p', 'x'),
      keys.adminCredential(tenantId, 'x'),
      keys.audit(tenantId, 1),
      keys.auditHead(tenantId),
      keys.idempotency(tenantId, 'c', 'h'),
    ];
    const ofEnvironment: StoreKey[] = [
      keys.credential(environment, 'x'),
      keys.environmentState(environment),
      keys.accessState(environment),
      keys.revision(environment, 1),
      keys.definitionEntry(environment, 'flag', 'x'),
      keys.definition(environment, 'x'),
      keys.definitionUse(environment, 'x'),
      keys.definitionChange(environment, 'flag', 'x', 1),
      keys.definitionName(environment, 'flag', 'x'),
    ];
    for (const key of ofTenant) expect(key.slice(0, 2)).toEqual(['t', '$']);
    for (const key of ofEnvironment) expect(key.slice(0, 2)).toEqual(['t', 'e']);
    const all = [...ofTenant, ...ofEnvironment].map((key) => JSON.stringify(key));
    expect(new Set(all).size).toBe(all.length);
  });

  test('chunks of a segment lie below it, whatever the context kind is called', () => {
    const environment = parseEnvironmentRef({ tenantId: 't', projectId: 'p', environmentId: 'e' });
    const kinds = ['user', 'a/b', '\u0000', '🌍', 'x'.repeat(5_000)];
    const made = kinds.map((kind) => keys.definitionEntry(environment, 'segment-keys', `seg/included/01/${kind}`));
    expect(new Set(made.map((key) => JSON.stringify(key))).size).toBe(kinds.length);
    for (const key of made) {
      expect(key.slice(0, 5)).toEqual(['t', 'e', 'entry', 'segment-keys', 'seg']);
      expect(String(key[5])).toMatch(/^[0-9a-f]{32}$/);
    }
  });
});

describe('encodeRecord()', () => {
  test('comes back as it was, member names of every kind included (M16)', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(decodeRecord(encodeRecord(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
    const text = '{"__proto__":{"a":1},"constructor":2,"10":3,"2":4,"é":null}';
    expect(JSON.stringify(decodeRecord(encodeRecord(JSON.parse(text))))).toBe(JSON.stringify(JSON.parse(text)));
  });

  test('any flipped bit and any cut is refused', () => {
    const row = encodeRecord({ name: 'value', list: [1, 2, 3] });
    for (let bit = 0; bit < row.length * 8; bit += 1) {
      const flipped = Buffer.from(row);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(() => decodeRecord(flipped)).toThrow(/damaged/);
    }
    for (let length = 0; length < row.length; length += 1) {
      expect(() => decodeRecord(row.subarray(0, length))).toThrow(/damaged/);
    }
  });
});
