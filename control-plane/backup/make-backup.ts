import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PlatformError, parseTenantId } from '@guidon/protocol';
import { encodeSigned } from '@guidon/protocol/msgpack';
import { currentTreeHead } from '../audit/audit-proofs.js';
import { SigningKeys } from '../signing-keys/signing-keys.js';
import { STORE_FORMAT_VERSION } from '../store/control-store.js';
import { DATA_FILE } from '../store/data-file.js';
import { INSTALLATION, keys, lastPart, type Scope } from '../store/keys.js';
import { assertSoundFile } from '../store/sound-file.js';
import { writeBackupFile } from './backup-file.js';
import { StoreSnapshot } from './store-snapshot.js';

export interface BackupReport {
  readonly bytes: number;
  readonly rowCount: number;
  /** Files of `keys/` that are not in the backup. */
  readonly leftOut: readonly string[];
}

/**
 * Backs up the store below `dataDirectory`, beside a control plane that writes it or with none. The heads of the audit logs are signed for this
 * moment. Throws PlatformError when there is no sound store of this build's format, no keys, or the file is there already.
 */
export async function makeBackup(
  dataDirectory: string,
  path: string,
  options: { readonly withKeys: boolean; readonly now: number },
): Promise<BackupReport> {
  const directory = join(dataDirectory, 'store');
  const keyDirectory = join(dataDirectory, 'keys');
  const signingKeys = SigningKeys.read(keyDirectory);
  if (!existsSync(join(directory, DATA_FILE)) || signingKeys === undefined) {
    throw new PlatformError('not-found', `${dataDirectory} holds no store and keys of a control plane`);
  }
  if (existsSync(path)) throw new PlatformError('conflict', `${path} exists already; nothing is overwritten`);
  assertSoundFile(join(directory, DATA_FILE));
  const { signingKey, keySet, rootPublicKey, version } = signingKeys;
  const files = readdirSync(keyDirectory).filter((name) => !name.endsWith('.new'));
  const snapshot = new StoreSnapshot(directory);
  try {
    const storeFormat = snapshot.find<{ version: number }>(keys.storeFormat())?.version;
    if (storeFormat !== STORE_FORMAT_VERSION) {
      throw new PlatformError(
        'storage-unavailable',
        `the store has format ${storeFormat}, this build backs up format ${STORE_FORMAT_VERSION}: use the build that runs it`,
      );
    }
    const tenantIds = snapshot.list(keys.tenants()).map(({ key }) => parseTenantId(lastPart(key)));
    const owners: readonly Scope[] = [INSTALLATION, ...tenantIds];
    const header = {
      storeFormat,
      madeAt: options.now,
      rootPublicKey,
      keySet: base64(encodeSigned(keySet)),
      keySetVersion: version,
      keyId: signingKey.keyId,
      treeHeads: owners.map((owner) =>
        base64(encodeSigned(currentTreeHead(snapshot, owner, options.now, signingKey).signed)),
      ),
      keys: options.withKeys
        ? Object.fromEntries(files.map((name) => [name, base64(readFileSync(join(keyDirectory, name)))]))
        : {},
      leftOut: options.withKeys ? [] : files,
    };
    let rowCount = 0;
    const rows = (function* () {
      for (const row of snapshot.rows()) {
        rowCount += 1;
        yield row;
      }
    })();
    const bytes = writeBackupFile(path, header, rows, signingKey);
    return { bytes, rowCount, leftOut: header.leftOut };
  } finally {
    await snapshot.close();
  }
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
