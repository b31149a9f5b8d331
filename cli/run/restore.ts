import { join, resolve } from 'node:path';
import { findKeys, restoreBackup, verifyBackup } from '@guidon/control-plane';

export interface RestoreOptions {
  readonly data: string;
  readonly trustRoot?: string;
  readonly epochAbove: number;
  readonly check?: boolean;
}

/** `guidon restore FILE`: verifies everything and says what it means before it touches anything. */
export async function runRestore(file: string, options: RestoreOptions): Promise<void> {
  const directory = resolve(options.data);
  const backup = verifyBackup(resolve(file), options.trustRoot);
  const { rowCount, environmentCount, auditEntryCount, trustRoot, header } = backup;
  console.log(
    `${file}: made ${new Date(header.madeAt).toISOString()}, ${rowCount} rows, ${environmentCount} environments, ` +
      `${auditEntryCount} audit entries as signed; trust root ${trustRoot}${options.trustRoot === undefined ? ' (not pinned: compare it)' : ''}`,
  );
  const { missing, restored } = findKeys(directory, backup);
  if (restored.length > 0) console.log(`keys from the backup: ${restored.join(', ')}`);
  if (missing.length > 0) {
    console.log(
      `missing: ${missing.map((name) => join(directory, 'keys', name)).join(', ')}. The control plane does not start ` +
        'without key-set and signing.pem and rotates keys only with root.pem; no others can be made, nodes trust these alone. ' +
        'Put them there before you start it.',
    );
  }
  if (options.check === true) {
    console.log('Nothing was changed (--check).');
    return;
  }
  const { epoch, keptAt } = await restoreBackup(resolve(file), directory, backup, {
    epochAbove: options.epochAbove,
    now: Date.now(),
  });
  if (keptAt !== undefined) console.log(`what was there is kept: ${keptAt}`);
  console.log(
    `restored. The next start raises every environment to epoch ${epoch}, so that nodes take it for newer than what they have. ` +
      'Credentials made since the backup are gone; those revoked since are valid again: revoke them anew.',
  );
}
