import { cpSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type AuditRow, sealAuditEntry } from '@guidon/control-plane/audit/audit-entry.js';
import { appendAuditEntry } from '@guidon/control-plane/audit/audit-store.js';
import {
  type BackupHeader,
  type BackupRow,
  readBackupHeader,
  readBackupRows,
  writeBackupFile,
} from '@guidon/control-plane/backup/backup-file.js';
import { makeBackup } from '@guidon/control-plane/backup/make-backup.js';
import { findKeys } from '@guidon/control-plane/backup/restore-backup.js';
import { verifyBackup } from '@guidon/control-plane/backup/verify-backup.js';
import { SigningKeys } from '@guidon/control-plane/signing-keys/signing-keys.js';
import { ControlStore, STORE_FORMAT_VERSION } from '@guidon/control-plane/store/control-store.js';
import { INSTALLATION, keys } from '@guidon/control-plane/store/keys.js';
import { decodeRecord, encodeRecord } from '@guidon/control-plane/store/record-codec.js';
import { PlatformError, parseTenantId } from '@guidon/protocol';
import { generateSigningKey, type SigningKey } from '@guidon/protocol/signed-config';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type TemporaryFolder, temporaryFolder } from '../../../support/guidon-process.js';

const tenantId = parseTenantId('ten_1');
const ENTRIES = 5;
let folder: TemporaryFolder;
let file: string;
let bytes: Buffer;
let header: BackupHeader;
let rows: BackupRow[];
let signingKey: SigningKey;

beforeAll(async () => {
  folder = temporaryFolder('verify-backup');
  file = join(folder.path, 'backup');
  ({ signingKey } = SigningKeys.open(join(folder.path, 'keys'), 1));
  const store = await ControlStore.open({ directory: join(folder.path, 'store') });
  await store.transaction((transaction) => {
    transaction.put(keys.tenant(tenantId), { version: 1 });
    for (const owner of [tenantId, INSTALLATION] as const) {
      for (let index = 0; index < ENTRIES; index += 1) {
        appendAuditEntry(transaction, owner, {
          at: 1,
          actor: { kind: 'system', credentialId: 'system', name: 'system' },
          requestId: `r${index}`,
          action: 'tenant.create',
          subject: 'é',
          summary: `entry ${index}`,
          comment: '',
          diff: [],
          beforeDigest: '',
          afterDigest: '',
          environments: [],
        });
      }
    }
  });
  await makeBackup(folder.path, file, { withKeys: false, now: 5 });
  await store.close();
  bytes = readFileSync(file);
  header = readBackupHeader(file);
  rows = [...readBackupRows(file)].map(({ key, value }) => ({ key, value: Buffer.from(value) }));
});
afterAll(() => folder.remove());

/** The sentence that a file with these bytes is refused with; fails when it is taken. */
function refusalOf(content: Buffer): string {
  const damaged = join(folder.path, 'damaged');
  writeFileSync(damaged, content);
  try {
    verifyBackup(damaged);
  } catch (error) {
    if (error instanceof PlatformError) return error.message;
    throw error;
  }
  throw new Error('it was taken');
}

/** A file of its own, signed as it should be. */
function refusalOfForged(part: { header?: Partial<BackupHeader>; rows?: BackupRow[] }, key = signingKey): string {
  const forged = join(folder.path, 'forged');
  writeBackupFile(forged, { ...header, ...part.header }, part.rows ?? rows, key);
  return refusalOf(readFileSync(forged));
}

const isAudit = ({ key }: BackupRow): boolean => key[0] === tenantId && key[2] === 'audit';

describe('verifyBackup()', () => {
  test('says what is in a sound one', () => {
    expect(verifyBackup(file)).toMatchObject({
      rowCount: rows.length,
      auditEntryCount: 2 * ENTRIES,
      environmentCount: 0,
      header: {
        storeFormat: STORE_FORMAT_VERSION,
        madeAt: 5,
        leftOut: ['key-set', 'root.pem', 'signing.pem'],
        keys: {},
      },
    });
    expect(decodeRecord(rows.find(({ key }) => key[2] === 'tenant')?.value ?? Buffer.alloc(0))).toEqual({ version: 1 });
  });

  test('refuses every cut', () => {
    for (let length = 0; length < bytes.length; length += 1 + Math.floor(length / 64)) {
      expect(refusalOf(bytes.subarray(0, length)), `${length} bytes`).toMatch(/backup|cut/);
    }
    writeFileSync(join(folder.path, 'longer'), Buffer.concat([bytes, Buffer.alloc(1)]));
    expect(() => verifyBackup(join(folder.path, 'longer'))).toThrow(/cut or was changed/);
    truncateSync(join(folder.path, 'longer'), 0);
    expect(() => verifyBackup(join(folder.path, 'longer'))).toThrow(/is no backup/);
  });

  test('refuses a flipped bit wherever it is', () => {
    for (let offset = 0; offset < bytes.length; offset += 11) {
      const flipped = Buffer.from(bytes);
      flipped[offset] = (flipped[offset] ?? 0) ^ (1 << (offset % 8));
      expect(refusalOf(flipped), `byte ${offset}`).not.toBe('');
    }
  });

  test('refuses what the signing key did not sign, whoever computed the rest', () => {
    const foreign = generateSigningKey();
    expect(refusalOfForged({}, foreign)).toMatch(/was changed/);
    expect(refusalOfForged({ header: { keyId: foreign.keyId } }, foreign)).toMatch(/key set does not name/);
    expect(refusalOfForged({ header: { rootPublicKey: foreign.publicKey } })).toMatch(/not signed by the root key/);
    expect(() => verifyBackup(file, 'A'.repeat(43))).toThrow(/not the one pinned/);
  });

  test('refuses audit logs that are not what their signed heads say, naming the first bad entry (I23)', () => {
    expect(refusalOfForged({ rows: rows.filter((row) => !(isAudit(row) && row.key[3] === 3)) })).toMatch(
      /audit log of ten_1.*entry 3 is the first bad one \(out-of-order\)/,
    );
    expect(refusalOfForged({ rows: rows.filter((row) => !(isAudit(row) && Number(row.key[3]) > 3)) })).toMatch(
      /entry 4 is the first bad one \(missing\)/,
    );
    let previousHash = '';
    const anew = rows.map((row) => {
      if (!isAudit(row)) return row;
      const { text } = decodeRecord<AuditRow>(row.value);
      const sealed = sealAuditEntry({ ...JSON.parse(text), summary: 'another', previousHash });
      previousHash = sealed.hash;
      return { ...row, value: encodeRecord(sealed) };
    });
    expect(refusalOfForged({ rows: anew })).toMatch(/rewritten/);
    expect(refusalOfForged({ header: { treeHeads: header.treeHeads.slice(0, 1) } })).toMatch(/without a signed head/);
  });

  test('refuses a damaged row, a newer format and a newer store', () => {
    const value = Buffer.from(rows[0]?.value ?? '');
    value[6] = (value[6] ?? 0) ^ 1;
    const damaged = rows.with(0, { key: rows[0]?.key ?? [], value });
    expect(refusalOfForged({ rows: damaged })).toBe('a stored row is damaged');
    expect(refusalOfForged({ header: { storeFormat: STORE_FORMAT_VERSION + 1 } })).toMatch(/with the newer build/);
    expect(refusalOfForged({ header: { keys: { '../../up': 'x' } } })).toMatch(/its header is none of a backup/);
    const newer = Buffer.from(bytes);
    newer.writeUInt32LE(2, 8);
    expect(refusalOf(newer)).toMatch(/backup of version 2, this build reads version 1/);
  });
});

describe('findKeys()', () => {
  test('goes by the keys that are there: rotated since is right, revoked since is not', () => {
    const directory = join(folder.path, 'rotated');
    cpSync(join(folder.path, 'keys'), join(directory, 'keys'), { recursive: true });
    const rotated = SigningKeys.open(join(directory, 'keys'), 6);
    rotated.planIntroduction()(7);
    rotated.planActivation(rotated.list().find(({ state }) => state === 'next')?.keyId ?? '')(8);
    const verified = verifyBackup(file);
    expect(findKeys(directory, verified)).toEqual({ restored: [], missing: [] });
    rotated.planRevocation(header.keyId)(9);
    expect(() => findKeys(directory, verified)).toThrow(/which signed the backup, has been revoked since/);
  });

  test('names every file that is missing', () => {
    const missing = ['key-set', 'root.pem', 'signing.pem'];
    expect(findKeys(join(folder.path, 'nothing'), verifyBackup(file))).toEqual({ restored: [], missing });
  });
});
