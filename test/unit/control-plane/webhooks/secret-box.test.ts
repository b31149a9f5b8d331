import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SecretBox } from '@guidon/control-plane/webhooks/secret-box.js';
import { afterEach, beforeEach, expect, test } from 'vitest';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'guidon-box-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

test('SecretBox opens what it has sealed, also after a restart, for its owner alone', () => {
  const sealed = new SecretBox(directory).seal('whsec_abc', 'ten_a/whk_1');
  expect(sealed).not.toContain(Buffer.from('whsec_abc').toString('base64').slice(0, 8));
  expect(new SecretBox(directory).open(sealed, 'ten_a/whk_1')).toBe('whsec_abc');
  expect(new SecretBox(directory).open(sealed, 'ten_b/whk_1')).toBeUndefined();
  expect(statSync(join(directory, 'webhook.key')).mode & 0o777).toBe(0o600);
});

test('SecretBox opens nothing that was changed, sealed with another key, or when the key is gone', () => {
  const box = new SecretBox(directory);
  const sealed = box.seal('secret', 'o');
  expect(box.seal('secret', 'o')).not.toBe(sealed);
  const bytes = Buffer.from(sealed, 'base64');
  for (let index = 0; index < bytes.length; index += 1) {
    const flipped = Buffer.from(bytes);
    flipped[index] = (flipped[index] ?? 0) ^ 1;
    expect(box.open(flipped.toString('base64'), 'o')).toBeUndefined();
  }
  expect(box.open('', 'o')).toBeUndefined();
  rmSync(join(directory, 'webhook.key'));
  expect(new SecretBox(directory).open(sealed, 'o')).toBeUndefined();
  new SecretBox(directory).seal('other', 'o');
  expect(readFileSync(join(directory, 'webhook.key'))).toHaveLength(32);
  expect(new SecretBox(directory).open(sealed, 'o')).toBeUndefined();
});

test('SecretBox does not replace a key that is damaged', () => {
  writeFileSync(join(directory, 'webhook.key'), 'short');
  expect(() => new SecretBox(directory).seal('secret', 'o')).toThrow('restore it');
  expect(readFileSync(join(directory, 'webhook.key'), 'utf8')).toBe('short');
});
