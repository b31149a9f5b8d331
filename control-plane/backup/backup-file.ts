import { createHash, type Hash } from 'node:crypto';
import { closeSync, fstatSync, fsyncSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs';
import { PlatformError } from '@guidon/protocol';
import { isSignedBy, type SigningKey, signDocument } from '@guidon/protocol/signed-config';
import { z } from 'zod';

/**
 * A backup: every row of the store as it was at one moment, little-endian. The end is signed, so that a cut, a flipped bit and a row that somebody
 * wrote himself are the same: no backup.
 *
 *   off  size  field
 *     0     8  "GUIDONBK"
 *     8     4  u32 BACKUP_VERSION
 *    12     4  u32 header bytes
 *    16     -  header, JSON: BackupHeader
 *     -     -  rows, in the order of their keys: u32 key bytes, u32 value bytes, key as JSON, value as stored (record-codec.ts)
 *   -72     4  u32 0, where the key bytes of a row would stand
 *   -68     4  u32 0
 *   -64    64  Ed25519 over "guidon backup\0" and the SHA-256 of everything before it, by the signing key that the header names
 */
export const BACKUP_VERSION = 1;
const MAGIC = Buffer.from('GUIDONBK');
const PREFIX_BYTES = 16;
const ROW_HEADER_BYTES = 8;
const SIGNATURE_BYTES = 64;
/** Names that stay inside the folder they are written to. */
const KEY_FILE_PATTERN = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$/;
const HEADER_BYTES_MAX = 256 * 1024 * 1024;
const KEY_BYTES_MAX = 64 * 1024;
const CHUNK_BYTES = 1024 * 1024;

const headerSchema = z.strictObject({
  storeFormat: z.int().positive(),
  /** Epoch milliseconds, for people. */
  madeAt: z.int(),
  /** What the heads and the end are signed by leads back to this key. */
  rootPublicKey: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
  /** The signed key set, as nodes get it, base64. */
  keySet: z.string(),
  keySetVersion: z.int().positive(),
  keyId: z.string(),
  /** A signed tree head of every audit log at this moment, base64 of `encodeSigned`. */
  treeHeads: z.array(z.string()).readonly(),
  /** The files of `keys/` by name, base64; empty unless they were asked for. */
  keys: z.record(z.string().regex(KEY_FILE_PATTERN), z.string()),
  /** Files of `keys/` that are not in it. */
  leftOut: z.array(z.string().regex(KEY_FILE_PATTERN)).readonly(),
});
export type BackupHeader = Readonly<z.infer<typeof headerSchema>>;

export interface BackupRow {
  readonly key: readonly (string | number)[];
  readonly value: Buffer;
}

/** Writes it beside and renames it, so that `path` is a whole backup or is not there. Answers its size in bytes. */
export function writeBackupFile(
  path: string,
  header: BackupHeader,
  rows: Iterable<BackupRow>,
  signingKey: SigningKey,
): number {
  const temporary = `${path}.new`;
  const file = openSync(temporary, 'w', 0o600);
  try {
    const writer = new HashedWriter(file);
    const text = Buffer.from(JSON.stringify(header));
    writer.write(MAGIC, u32(BACKUP_VERSION), u32(text.length), text);
    for (const { key, value } of rows) {
      const name = Buffer.from(JSON.stringify(key));
      writer.write(u32(name.length), u32(value.length), name, value);
    }
    writer.write(u32(0), u32(0));
    const { signature } = signDocument(endOf(writer.digest()), signingKey);
    writer.write(signature);
    writer.flush();
    fsyncSync(file);
    renameSync(temporary, path);
    return writer.bytes;
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
}

/** Reads the header. Nothing of it is proven before `assertWhole`. Throws `validation-failed` for what is no backup. */
export function readBackupHeader(path: string): BackupHeader {
  return withFile(path, (file) => parseHeader(path, file).header);
}

/** Throws `validation-failed` unless the end is signed by `publicKey` over everything before it. */
export function assertWhole(path: string, publicKey: string): void {
  withFile(path, (file, bytes) => {
    const hash = createHash('sha256');
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    for (let offset = 0; offset < bytes - SIGNATURE_BYTES; ) {
      const wanted = Math.min(CHUNK_BYTES, bytes - SIGNATURE_BYTES - offset);
      const count = readSync(file, chunk, 0, wanted, offset);
      if (count === 0) throw unusable(`${path} became shorter while it was read`);
      hash.update(chunk.subarray(0, count));
      offset += count;
    }
    const signature = readExactly(file, bytes - SIGNATURE_BYTES, SIGNATURE_BYTES);
    if (!isSignedBy({ document: endOf(hash), signature }, publicKey)) {
      throw unusable(`${path} is cut or was changed: its end does not fit what comes before. Take another backup`);
    }
  });
}

/** The rows in their order. Call it for what `assertWhole` has let through. */
export function* readBackupRows(path: string): Generator<BackupRow> {
  const file = openSync(path, 'r');
  try {
    let { offset } = parseHeader(path, file);
    for (;;) {
      const sizes = readExactly(file, offset, ROW_HEADER_BYTES);
      const [keyBytes, valueBytes] = [sizes.readUInt32LE(0), sizes.readUInt32LE(4)];
      if (keyBytes === 0) return;
      if (keyBytes > KEY_BYTES_MAX) throw unusable(`${path} has a row whose key is too long`);
      const row = readExactly(file, offset + ROW_HEADER_BYTES, keyBytes + valueBytes);
      yield { key: JSON.parse(row.toString('utf8', 0, keyBytes)), value: row.subarray(keyBytes) };
      offset += ROW_HEADER_BYTES + keyBytes + valueBytes;
    }
  } finally {
    closeSync(file);
  }
}

function parseHeader(path: string, file: number): { header: BackupHeader; offset: number } {
  const { size } = fstatSync(file);
  const prefix = size < PREFIX_BYTES ? Buffer.alloc(0) : readExactly(file, 0, PREFIX_BYTES);
  if (!prefix.subarray(0, MAGIC.length).equals(MAGIC)) throw unusable(`${path} is no backup of Guidon`);
  const version = prefix.readUInt32LE(8);
  if (version !== BACKUP_VERSION) {
    throw unusable(`${path} is a backup of version ${version}, this build reads version ${BACKUP_VERSION}`);
  }
  const headerBytes = prefix.readUInt32LE(12);
  const offset = PREFIX_BYTES + headerBytes;
  if (headerBytes > HEADER_BYTES_MAX || offset + ROW_HEADER_BYTES + SIGNATURE_BYTES > size) {
    throw unusable(`${path} is cut: it ends before its first row`);
  }
  try {
    const text = readExactly(file, PREFIX_BYTES, headerBytes).toString('utf8');
    return { header: headerSchema.parse(JSON.parse(text)), offset };
  } catch (cause) {
    throw new PlatformError('validation-failed', `${path} is damaged: its header is none of a backup`, { cause });
  }
}

function withFile<Result>(path: string, work: (file: number, bytes: number) => Result): Result {
  const file = openSync(path, 'r');
  try {
    return work(file, fstatSync(file).size);
  } finally {
    closeSync(file);
  }
}

function readExactly(file: number, offset: number, count: number): Buffer {
  const { size } = fstatSync(file);
  if (offset < 0 || offset + count > size) throw unusable('the backup ends in the middle of a row');
  const bytes = Buffer.allocUnsafe(count);
  for (let done = 0; done < count; ) {
    const read = readSync(file, bytes, done, count - done, offset + done);
    if (read === 0) throw unusable('the backup became shorter while it was read');
    done += read;
  }
  return bytes;
}

/** Gathers small parts, so that a row is no system call. */
class HashedWriter {
  readonly #file: number;
  readonly #hash: Hash = createHash('sha256');
  #parts: Uint8Array[] = [];
  #waitingBytes = 0;
  bytes = 0;

  constructor(file: number) {
    this.#file = file;
  }

  write(...parts: readonly Uint8Array[]): void {
    for (const part of parts) this.#waitingBytes += part.length;
    this.#parts.push(...parts);
    if (this.#waitingBytes >= CHUNK_BYTES) this.flush();
  }

  flush(): void {
    const bytes = Buffer.concat(this.#parts);
    this.#hash.update(bytes);
    for (let done = 0; done < bytes.length; ) done += writeSync(this.#file, bytes, done);
    this.bytes += bytes.length;
    this.#parts = [];
    this.#waitingBytes = 0;
  }

  /** Of everything written so far. */
  digest(): Hash {
    this.flush();
    return this.#hash.copy();
  }
}

const endOf = (hash: Hash): Buffer => Buffer.concat([Buffer.from('guidon backup\0'), hash.digest()]);

function u32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32LE(value, 0);
  return bytes;
}

const unusable = (detail: string): PlatformError => new PlatformError('validation-failed', detail);
