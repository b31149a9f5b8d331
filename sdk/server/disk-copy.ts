import { mkdirSync, readFileSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { threadId } from 'node:worker_threads';
import { PlatformError, settlesWithin } from '@guidon/protocol';
import { comparePositions, type Position } from '@guidon/protocol/live-updates';
import {
  type ConfigMessage,
  keySetFromText,
  keySetTextOf,
  parseManifest,
  type Signed,
} from '@guidon/protocol/signed-config';
import type { KnownKeys } from './trust.js';

const FORMAT = 1;
const NEWLINE = Buffer.from('\n');
/** Of this thread, for names. */
let copyCount = 0;
/** Of line 1: a key set has sixteen keys at most. */
const HEAD_BYTES_MAX = 64 * 1024;

/**
 * The last good configuration in a file:
 *
 *   line 1   {"format": 1, "keySet": {rootPublicKey, document, signature}, "manifest": text, "signature": base64}
 *   line 2…  one definition each, the bytes that were signed for; JSON without white space, so without a line break
 *
 * It is replaced as a whole, by renaming. Whoever reads it verifies it like a message: cut or changed it does not have the manifest's digest.
 */
export class DiskCopy {
  readonly #path: string;
  /** Several clients, also of other processes and threads, may share the folder: each writes a file of its own. */
  readonly #temporary: string;
  /** The write that is under way, also when nobody waits for it any more: one at a time. */
  #last: Promise<unknown> = Promise.resolve();

  /** Makes the folder. Throws where that is not possible. */
  constructor(folder: string, credentialId: string) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#path = join(folder, `guidon-${credentialId}.config`);
    copyCount += 1;
    this.#temporary = `${this.#path}.${process.pid}-${threadId}-${copyCount}.new`;
  }

  /** Undefined: there is none. Throws for one that cannot be read; whether it is to be trusted is the caller's to check. */
  read(): { readonly keys: KnownKeys; readonly config: ConfigMessage } | undefined {
    let bytes: Buffer;
    try {
      bytes = readFileSync(this.#path);
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
      throw error;
    }
    const [first, ...definitions] = linesOf(bytes);
    const { keys, signed } = parseHead(first ?? bytes);
    return { keys, config: { signed, previousRevision: 0, delta: { changed: definitions, removed: [] } } };
  }

  /** Rejects when it is not written in `deadlineMs`, or at all. What another process has written later is left. */
  async write(
    { keys, signed, definitions }: { keys: KnownKeys; signed: Signed; definitions: Iterable<Uint8Array> },
    deadlineMs: number,
  ): Promise<void> {
    const head = {
      format: FORMAT,
      keySet: keySetTextOf(keys.rootPublicKey, keys.keySet),
      manifest: Buffer.from(signed.document).toString('utf8'),
      signature: Buffer.from(signed.signature).toString('base64'),
    };
    const parts: Uint8Array[] = [Buffer.from(JSON.stringify(head))];
    for (const bytes of definitions) parts.push(NEWLINE, bytes);
    const late = new PlatformError('timeout', 'writing takes longer than its deadline');
    if (!(await settlesWithin(this.#last, deadlineMs))) throw late;
    const writing = this.#replace(Buffer.concat(parts), signed);
    this.#last = writing.catch(() => undefined);
    if (!(await settlesWithin(writing, deadlineMs))) throw late;
    await writing;
  }

  async #replace(bytes: Uint8Array, signed: Signed): Promise<void> {
    const own = parseManifest(signed.document);
    const stored = await this.#storedPosition();
    if (stored !== undefined && comparePositions(stored, own) > 0) return;
    try {
      const file = await open(this.#temporary, 'w', 0o600);
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(this.#temporary, this.#path);
    } catch (error) {
      await rm(this.#temporary, { force: true });
      throw error;
    }
  }

  /** What lies there by now; a damaged file is worth nothing. */
  async #storedPosition(): Promise<Position | undefined> {
    try {
      const file = await open(this.#path, 'r');
      try {
        const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES_MAX), 0, HEAD_BYTES_MAX, 0);
        const [line] = linesOf(buffer.subarray(0, bytesRead));
        return line && parseManifest(parseHead(line).signed.document);
      } finally {
        await file.close();
      }
    } catch {
      return undefined;
    }
  }
}

function parseHead(line: Uint8Array): { readonly keys: KnownKeys; readonly signed: Signed } {
  const head: unknown = JSON.parse(Buffer.from(line).toString('utf8'));
  const members = new Map<string, unknown>(typeof head === 'object' && head !== null ? Object.entries(head) : []);
  if (members.get('format') !== FORMAT) throw new PlatformError('validation-failed', 'the file is of another format');
  const manifest = members.get('manifest');
  const signature = members.get('signature');
  if (typeof manifest !== 'string' || typeof signature !== 'string')
    throw new PlatformError('validation-failed', 'the file holds no manifest');
  return {
    keys: keySetFromText(members.get('keySet')),
    signed: { document: Buffer.from(manifest, 'utf8'), signature: Buffer.from(signature, 'base64') },
  };
}

function* linesOf(bytes: Buffer): Generator<Uint8Array> {
  for (let from = 0; from <= bytes.length; ) {
    const end = bytes.indexOf(NEWLINE, from);
    yield bytes.subarray(from, end < 0 ? bytes.length : end);
    if (end < 0) return;
    from = end + 1;
  }
}
