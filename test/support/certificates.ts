import { spawnSync } from 'node:child_process';
import { readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import type { TlsFiles } from '@guidon/protocol/tls-files';

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];

/** A private authority of one test, and certificates of it for this machine's loopback addresses. */
export class TestAuthority {
  readonly caFile: string;
  readonly ca: string;
  readonly #folder: string;

  /** Everything is kept in `folder`. */
  constructor(folder: string) {
    this.#folder = folder;
    this.caFile = join(folder, 'ca.crt');
    const files = ['-keyout', join(folder, 'ca.key'), '-out', this.caFile];
    openssl(['req', '-x509', ...NEW_KEY, ...files, '-subj', '/CN=test authority']);
    this.ca = readFileSync(this.caFile, 'utf8');
  }

  /** A new key and certificate in `<name>.key` and `<name>.crt`, put there at once; `subject` tells one from the next. */
  issue(name: string, subject: string): TlsFiles {
    const certFile = join(this.#folder, `${name}.crt`);
    const keyFile = join(this.#folder, `${name}.key`);
    const files = ['-keyout', `${keyFile}.new`, '-out', `${certFile}.new`];
    const signer = ['-CA', this.caFile, '-CAkey', join(this.#folder, 'ca.key')];
    const names = ['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
    const leaf = ['-addext', 'basicConstraints=critical,CA:FALSE'];
    openssl(['req', '-x509', ...NEW_KEY, ...files, ...signer, '-subj', `/CN=${subject}`, ...names, ...leaf]);
    renameSync(`${keyFile}.new`, keyFile);
    renameSync(`${certFile}.new`, certFile);
    return { certFile, keyFile };
  }
}

function openssl(args: readonly string[]): void {
  const { status, stderr } = spawnSync('openssl', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`);
}
