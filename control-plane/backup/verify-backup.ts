import { PlatformError } from '@guidon/protocol';
import { LogVerifier, type TreeHead, verifyTreeHead } from '@guidon/protocol/audit-proof';
import { decodeSigned } from '@guidon/protocol/msgpack';
import { fingerprintOf, TrustedKeys } from '@guidon/protocol/signed-config';
import type { AuditRow } from '../audit/audit-entry.js';
import type { EnvironmentStateRow } from '../commit/definition-store.js';
import { STORE_FORMAT_VERSION } from '../store/control-store.js';
import { INSTALLATION } from '../store/keys.js';
import { decodeBytes, decodeRecord } from '../store/record-codec.js';
import { assertWhole, type BackupHeader, readBackupHeader, readBackupRows } from './backup-file.js';

export interface VerifiedBackup {
  readonly header: BackupHeader;
  /** Fingerprint of the root key that everything in it leads back to. */
  readonly trustRoot: string;
  readonly rowCount: number;
  readonly auditEntryCount: number;
  readonly environmentCount: number;
  /** Of its environments; 0 when there is none. */
  readonly highestEpoch: number;
}

/**
 * Checks all of a backup and writes nothing: the signed end over every byte, format, check sum of every row, and every audit log against its
 * signed tree head. Throws PlatformError with a sentence for what is not right. `trustRoot`: the root key it must lead back to.
 */
export function verifyBackup(path: string, trustRoot?: string): VerifiedBackup {
  const header = readBackupHeader(path);
  const keys = new TrustedKeys(header.rootPublicKey, trustRoot).acceptKeySet(signedFrom(path, header.keySet)).keys;
  const key = keys.find(({ keyId }) => keyId === header.keyId);
  if (key === undefined) throw unusable(`${path} is signed by a key that its key set does not name`);
  assertWhole(path, key.publicKey);
  if (header.storeFormat > STORE_FORMAT_VERSION) {
    throw unusable(
      `${path} has store format ${header.storeFormat}, this build reads up to ${STORE_FORMAT_VERSION}: restore it with the newer build`,
    );
  }
  const heads = header.treeHeads.map((text) => verifyTreeHead(signedFrom(path, text), keys));
  const logs = new LogChecks(path, heads);
  const counts = { rowCount: 0, auditEntryCount: 0, environmentCount: 0, highestEpoch: 0 };
  for (const { key: rowKey, value } of readBackupRows(path)) {
    const [owner, second, noun] = rowKey;
    decodeBytes(value);
    counts.rowCount += 1;
    if (second === INSTALLATION && noun === 'audit') {
      logs.add(String(owner), decodeRecord<AuditRow>(value));
      counts.auditEntryCount += 1;
    } else if (second !== INSTALLATION && noun === 'state') {
      counts.environmentCount += 1;
      counts.highestEpoch = Math.max(counts.highestEpoch, decodeRecord<EnvironmentStateRow>(value).epoch);
    }
  }
  logs.assertSound();
  return { header, trustRoot: fingerprintOf(header.rootPublicKey), ...counts };
}

/** One verifier per audit log; rows of a log come in their order. */
class LogChecks {
  readonly #path: string;
  readonly #verifiers = new Map<string, LogVerifier>();

  constructor(path: string, heads: readonly (TreeHead | undefined)[]) {
    this.#path = path;
    for (const head of heads) {
      if (head === undefined) throw unusable(`${path} has a tree head that is not signed by the key it names`);
      this.#verifiers.set(head.owner, new LogVerifier(head));
    }
  }

  add(owner: string, entry: AuditRow): void {
    const verifier = this.#verifiers.get(owner);
    if (verifier === undefined) throw unusable(`${this.#path} has an audit log without a signed head (${owner})`);
    verifier.add(entry);
  }

  assertSound(): void {
    for (const [owner, verifier] of this.#verifiers) {
      const verdict = verifier.verdict();
      if (verdict.isSound) continue;
      const entry = `entry ${verdict.sequence} is the first bad one (${verdict.fault})`;
      throw unusable(`${this.#path}: the audit log of ${owner} is not what was signed: ${entry}: ${verdict.detail}`);
    }
  }
}

function signedFrom(path: string, base64: string): ReturnType<typeof decodeSigned>['signed'] {
  try {
    return decodeSigned(Buffer.from(base64, 'base64')).signed;
  } catch (cause) {
    throw new PlatformError('validation-failed', `${path} is damaged: its header holds no signed document`, { cause });
  }
}

const unusable = (detail: string): PlatformError => new PlatformError('validation-failed', detail);
