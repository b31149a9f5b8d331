import {
  AUDIT_ENTRY_BYTES_MAX,
  type AuditEntry,
  boundedDiff,
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
    diff: [],
    beforeDigest: '',
    afterDigest: '',
    environments: [],
  };
}

describe('sealAuditEntry()', () => {
  test('refuses an entry over 64 KiB', () => {
    const room = AUDIT_ENTRY_BYTES_MAX - JSON.stringify(entryAt(1, '', '')).length;
    expect(() => sealAuditEntry(entryAt(1, '', 'x'.repeat(room)))).not.toThrow();
    const tooLarge = () => sealAuditEntry(entryAt(1, '', 'x'.repeat(room + 1)));
    expect(tooLarge).toThrowError(expect.objectContaining({ code: 'limit-exceeded' }));
  });
});

describe('boundedDiff()', () => {
  test('keeps the beginning that fits and says how much does not', () => {
    const diff = Array.from({ length: 100 }, (_, index) => ({
      op: 'add' as const,
      pointer: `/${index}`,
      after: 'x'.repeat(1_000),
    }));
    expect(boundedDiff(diff.slice(0, 3))).toEqual({ diff: diff.slice(0, 3) });
    const bounded = boundedDiff(diff);
    expect(bounded.diff).toEqual(diff.slice(0, bounded.diff.length));
    expect(bounded.diff.length + (bounded.diffOmitted ?? 0)).toBe(100);
    expect(JSON.stringify(bounded.diff).length).toBeLessThan(AUDIT_ENTRY_BYTES_MAX / 2);
  });
});
