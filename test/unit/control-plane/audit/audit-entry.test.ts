import {
  AUDIT_ENTRY_BYTES_MAX,
  type AuditEntry,
  type AuditRow,
  findAuditBreak,
  hashAuditText,
  sealAuditEntry,
} from '@guidon/control-plane/audit/audit-entry.js';
import { describe, expect, test } from 'vitest';

function entryAt(sequence: number, previousHash: string, summary = `change ${sequence}`): AuditEntry {
  return {
    sequence,
    previousHash,
    at: 1_700_000_000_000 + sequence,
    actor: { kind: 'system', credentialId: 'system', name: 'system' },
    requestId: 'r',
    action: 'project.update',
    subject: 'projects/p',
    summary,
    comment: '',
    beforeDigest: '',
    afterDigest: '',
    environments: [],
  };
}

function chainOf(length: number): AuditRow[] {
  const rows: AuditRow[] = [];
  for (let sequence = 1; sequence <= length; sequence += 1) {
    rows.push(sealAuditEntry(entryAt(sequence, rows.at(-1)?.hash ?? '')));
  }
  return rows;
}

describe('findAuditBreak() (I23)', () => {
  test('an untouched chain has none', () => {
    for (const length of [0, 1, 2, 50]) expect(findAuditBreak(chainOf(length))).toBeUndefined();
  });

  test('an edited, removed, inserted or reordered entry is found at its place', () => {
    const chain = chainOf(10);
    const at = (index: number): AuditRow => {
      const row = chain[index];
      if (row === undefined) throw new Error('no such row');
      return row;
    };
    const edited = { ...at(4), text: at(4).text.replace('change 5', 'change x') };
    expect(findAuditBreak(chain.with(4, edited))).toBe(4);
    expect(findAuditBreak(chain.with(4, { text: edited.text, hash: hashAuditText(edited.text) }))).toBe(5);
    expect(findAuditBreak(chain.toSpliced(3, 1))).toBe(3);
    expect(findAuditBreak(chain.toSpliced(0, 1))).toBe(0);
    expect(findAuditBreak(chain.toSpliced(3, 0, at(3)))).toBe(4);
    expect(findAuditBreak([...chain.slice(0, 5), at(6), at(5), ...chain.slice(7)])).toBe(5);
  });

  test('any flipped byte of a text is found', () => {
    const chain = chainOf(3);
    const text = Buffer.from(chain[1]?.text ?? '');
    for (let index = 0; index < text.length; index += 1) {
      const flipped = Buffer.from(text);
      flipped[index] = (flipped[index] ?? 0) ^ 1;
      expect(findAuditBreak(chain.with(1, { text: flipped.toString('latin1'), hash: chain[1]?.hash ?? '' }))).toBe(1);
    }
  });
});

describe('sealAuditEntry()', () => {
  test('refuses an entry over 64 KiB', () => {
    const room = AUDIT_ENTRY_BYTES_MAX - JSON.stringify(entryAt(1, '', '')).length;
    expect(() => sealAuditEntry(entryAt(1, '', 'x'.repeat(room)))).not.toThrow();
    const tooLarge = () => sealAuditEntry(entryAt(1, '', 'x'.repeat(room + 1)));
    expect(tooLarge).toThrowError(expect.objectContaining({ code: 'limit-exceeded' }));
  });
});
