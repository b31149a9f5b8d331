import { readFileSync, statSync } from 'node:fs';
import { PlatformError } from '@guidon/protocol';
import { findCredential, hashSecret, isSecretOf } from '@guidon/protocol/signed-config';
import type pino from 'pino';
import type { RequestHead } from '../request-head.js';

const CHECK_INTERVAL_MS = 1_000;
/** Of one file; more are refused at a start and ignored later. */
const CREDENTIALS_MAX = 1_000;
const FILE_BYTES_MAX = 256 * 1024;
const BEARER = /^bearer /i;
/** Compared with when there is no such credential, so that an unknown id costs what a known one costs. */
const NO_SECRET_HASH = '0'.repeat(64);

/**
 * Who may be fed from this node: the `node` credentials of a file, one a line, `#` begins a comment (docs/adr/0034). The file is looked at once a
 * second: a line that is taken out is refused from then on, and without the file nobody is fed. Each process of a node reads it for itself.
 */
export class DownstreamCredentials {
  readonly #file: string;
  readonly #logger: pino.Logger;
  readonly #timer: NodeJS.Timeout;
  #stamp: string;
  /** Secret hash by credential id; the secrets themselves are not kept. */
  #hashes: ReadonlyMap<string, string>;

  /** Throws when the file holds no credential or something else: later it is taken as it is. */
  constructor(file: string, logger: pino.Logger) {
    this.#file = file;
    this.#logger = logger;
    this.#stamp = stampOf(file);
    const { hashes, badLines } = readCredentials(file);
    if (badLines.length > 0 || hashes.size === 0) {
      const reason = badLines.length > 0 ? `line ${badLines.join(', ')} is none` : 'it is empty';
      throw new PlatformError(
        'validation-failed',
        `${file} must hold node credentials (gdn_node_…), one a line: ${reason}`,
      );
    }
    this.#hashes = hashes;
    this.#timer = setInterval(() => this.refresh(), CHECK_INTERVAL_MS);
    this.#timer.unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Reads the file again when it is another one than the last time. */
  refresh(): void {
    const stamp = stampOf(this.#file);
    if (stamp === this.#stamp) return;
    this.#stamp = stamp;
    try {
      const { hashes, badLines } = readCredentials(this.#file);
      this.#hashes = hashes;
      this.#logger.warn(
        { credentialCount: hashes.size, badLines },
        'the credentials of who is fed from here were read again',
      );
    } catch (error) {
      this.#hashes = new Map();
      this.#logger.error({ err: error }, 'the credentials of who is fed from here cannot be read: nobody is');
    }
  }

  /** Throws `invalid-credentials`, with one text for every reason. */
  authenticate({ authorization, apiKey }: RequestHead): void {
    const token = apiKey === '' ? authorization.replace(BEARER, '') : apiKey;
    const credential = findCredential(token);
    const hash = this.#hashes.get(credential?.credentialId ?? '');
    const isGenuine = isSecretOf(credential?.secret ?? '', hash ?? NO_SECRET_HASH);
    if (hash !== undefined && isGenuine && credential?.kind === 'node') return;
    throw new PlatformError('invalid-credentials', 'Send a credential that this node feeds.');
  }
}

function readCredentials(file: string): { hashes: Map<string, string>; badLines: number[] } {
  const bytes = readFileSync(file);
  if (bytes.length > FILE_BYTES_MAX) throw new PlatformError('limit-exceeded', `${file} is too long`);
  const hashes = new Map<string, string>();
  const badLines: number[] = [];
  for (const [index, line] of bytes.toString('utf8').split('\n').entries()) {
    const token = line.replace(/#.*/, '').trim();
    if (token === '') continue;
    const credential = findCredential(token);
    if (credential?.kind === 'node' && hashes.size < CREDENTIALS_MAX) {
      hashes.set(credential.credentialId, hashSecret(credential.secret));
    } else {
      badLines.push(index + 1);
    }
  }
  return { hashes, badLines };
}

/** Another text for another content: a file that replaces it has another inode, one that is written another time. */
function stampOf(file: string): string {
  const stat = statSync(file, { throwIfNoEntry: false, bigint: true });
  return stat === undefined ? 'absent' : `${stat.ino}/${stat.size}/${stat.mtimeNs}`;
}
