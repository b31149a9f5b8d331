import { resolve } from 'node:path';
import { makeBackup } from '@guidon/control-plane';

export interface BackupOptions {
  readonly data: string;
  readonly out: string;
  readonly withKeys?: boolean;
}

/** `guidon backup`: one file with everything but the private keys, beside a control plane that goes on. */
export async function runBackup(options: BackupOptions): Promise<void> {
  const withKeys = options.withKeys === true;
  const report = await makeBackup(resolve(options.data), resolve(options.out), { withKeys, now: Date.now() });
  console.log(`${options.out}: ${report.rowCount} rows, ${report.bytes} bytes`);
  if (withKeys) {
    console.log('It holds the private keys: keep it as you keep them. Whoever has it can sign for this installation.');
  } else {
    console.log(
      `Not in it: keys/${report.leftOut.join(', keys/')}. Without them a restored control plane cannot start, ` +
        'and nodes trust no others: keep a copy of the keys folder elsewhere, or use --with-keys.',
    );
  }
}
