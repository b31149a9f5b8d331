import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { createGunzip } from 'node:zlib';
import { PlatformError } from '@guidon/protocol';
import { LogVerifier, type TreeHead, verifyTreeHead } from '@guidon/protocol/audit-proof';
import { decodeSigned } from '@guidon/protocol/msgpack';
import { DigestTree, fingerprintOf, hashDefinition, type Signed, TrustedKeys } from '@guidon/protocol/signed-config';
import { tenantIdSchema } from '../admin-api/params.js';
import type { SigningKeys } from '../signing-keys/signing-keys.js';
import type { TenantRecord } from '../tenants/tenant-record.js';
import {
  ARCHIVE_FORMAT,
  ARCHIVE_VERSION,
  ARCHIVED_NOUNS,
  type ArchiveHeader,
  type ArchiveRow,
  type ArchiveTrailer,
  badArchive,
  openSeal,
} from './archive-format.js';

/** A definition of the largest flag, or a chunk of keys, written as JSON in JSON. */
const LINE_CHARS_MAX = 32 * 1024 * 1024;

/** Lines of an archive, without their line feeds. Throws `validation-failed` for what is no gzip of text. */
async function* linesOf(path: string): AsyncGenerator<string> {
  const gunzip = createGunzip();
  const file = createReadStream(path);
  file.on('error', (error) => gunzip.destroy(error));
  gunzip.setEncoding('utf8');
  // Pieces of the line whose end has not come: each is looked through once, however long the line gets.
  let begun: string[] = [];
  let begunChars = 0;
  try {
    for await (const chunk of file.pipe(gunzip) as AsyncIterable<string>) {
      const ends = chunk.split('\n');
      const last = ends.pop() ?? '';
      for (const end of ends) {
        yield begun.join('') + end;
        begun = [];
        begunChars = 0;
      }
      begun.push(last);
      begunChars += last.length;
      if (begunChars > LINE_CHARS_MAX) throw badArchive('a line is too long');
    }
  } catch (cause) {
    if (cause instanceof PlatformError) throw cause;
    throw new PlatformError('validation-failed', 'this is no gzip file, or it is cut', { cause });
  } finally {
    file.destroy();
    gunzip.destroy();
  }
  if (begunChars > 0) throw badArchive('its last line is cut');
}

/** The header, then the rows of an archive that `verifyArchive` has passed. */
export async function* rowsOf(path: string): AsyncGenerator<ArchiveRow> {
  let isFirst = true;
  for await (const line of linesOf(path)) {
    const value = parseLine(line);
    if (!isFirst && 'key' in value) yield rowFrom(value);
    isFirst = false;
  }
}

export interface VerifiedArchive {
  readonly header: ArchiveHeader;
  readonly rowCount: number;
  readonly treeHead: TreeHead;
  /** As it was signed, base64. */
  readonly signedTreeHead: string;
  /** Fingerprint of the root key that everything leads back to. */
  readonly trustRoot: string;
}

/**
 * Reads an archive from end to end: the seal is right, the audit log is what its tree head says, definitions are what their hashes and digests say,
 * and each row is of a noun that archives have. Throws `validation-failed`; nothing has been written then. `own`: keys of this installation, whose
 * archives are taken; those of another one only when it is named.
 */
export async function verifyArchive(
  path: string,
  own: Pick<SigningKeys, 'trustRoot' | 'list'>,
  otherTrustRoot?: string,
): Promise<VerifiedArchive> {
  let header: ArchiveHeader | undefined;
  let trailer: ArchiveTrailer | undefined;
  const digest = createHash('sha256');
  const check = new RowCheck();
  for await (const line of linesOf(path)) {
    if (trailer !== undefined) throw badArchive('there is something behind its seal');
    const value = parseLine(line);
    if (header === undefined) header = headerFrom(value);
    else if ('seal' in value) {
      trailer = trailerFrom(value);
      continue;
    } else check.add(rowFrom(value));
    digest.update(`${line}\n`);
  }
  if (header === undefined || trailer === undefined) throw badArchive('its end is missing');
  const trustRoot = fingerprintOf(trailer.rootPublicKey);
  if (trustRoot !== own.trustRoot && trustRoot !== otherTrustRoot) {
    const detail = `it is sealed by the installation ${trustRoot}: name that as trustRoot if you trust it`;
    throw new PlatformError('validation-failed', detail, {
      issues: [{ pointer: '/trustRoot', code: 'validation-failed', detail }],
    });
  }
  // Of this installation it is known which keys are in force now: the set in the archive may be of a time when one that was stolen still was.
  const keys =
    trustRoot === own.trustRoot
      ? own.list()
      : new TrustedKeys(trailer.rootPublicKey).acceptKeySet(signedFrom(trailer.keySet)).keys;
  const seal = openSeal(signedFrom(trailer.seal), keys);
  const isWhole = seal.rowCount === check.rowCount && seal.digest === digest.digest('hex');
  if (!isWhole || seal.tenantId !== header.tenant.tenantId) throw badArchive('it is not what was sealed');
  const treeHead = verifyTreeHead(signedFrom(trailer.treeHead), keys);
  if (treeHead === undefined || treeHead.owner !== seal.tenantId) throw badArchive('its tree head is not signed');
  check.finish(treeHead);
  return { header, rowCount: check.rowCount, treeHead, signedTreeHead: trailer.treeHead, trustRoot };
}

/** Looks at rows one after the other, in the order of their keys: all of one environment stand together. */
class RowCheck {
  rowCount = 0;
  /** Without the head, which is known at the end only: then size and root are held against it. */
  readonly #log = new LogVerifier();
  #environmentId: string | number = '';
  #hashes = new Set<string>();
  #tree = new DigestTree();

  add({ key, text }: ArchiveRow): void {
    this.rowCount += 1;
    const [place = '', noun = '', ...rest] = key;
    const fate = ARCHIVED_NOUNS[String(noun)];
    if (fate === undefined || fate === 'left-out') throw badArchive(`it has rows of ${noun}, which is not known here`);
    if (place !== this.#environmentId) {
      this.#environmentId = place;
      this.#hashes = new Set();
      this.#tree = new DigestTree();
    }
    if (noun === 'definition') {
      const hash = Buffer.from(hashDefinition(Buffer.from(text, 'utf8'))).toString('hex');
      if (hash !== rest[0]) throw badArchive('a definition is not what its hash says');
      this.#hashes.add(hash);
      return;
    }
    const value = parseLine(text, noun === 'definition-use');
    if (noun === 'audit') this.#log.add({ text: String(value.text), hash: String(value.hash) });
    if (noun === 'entry') this.#addEntry(String(value.kind), String(value.key), String(value.hash));
    if (noun === 'state' && this.#tree.digest() !== value.digest) {
      throw badArchive('the definitions of an environment are not what their digest says');
    }
  }

  /** Definitions come before entries, and entries before the state: so are their nouns ordered. */
  #addEntry(kind: string, key: string, hash: string): void {
    if (!this.#hashes.has(hash)) throw badArchive(`the definition ${kind} ${key} is missing`);
    this.#tree.set(kind, key, Buffer.from(hash, 'hex'));
  }

  finish(head: TreeHead): void {
    const verdict = this.#log.verdict();
    if (!verdict.isSound) throw badArchive(`its audit log is not whole: entry ${verdict.sequence}, ${verdict.detail}`);
    if (verdict.size !== head.size) {
      throw badArchive(`its audit log has ${verdict.size} entries, its tree head says ${head.size}`);
    }
    if (verdict.root !== head.root) throw badArchive('its audit log is not the one that its tree head is of');
  }
}

function rowFrom({ key, text }: Readonly<Record<string, unknown>>): ArchiveRow {
  if (!Array.isArray(key) || !key.every(isKeyPart) || typeof text !== 'string') throw badArchive('a row has no key');
  return { key, text };
}

function trailerFrom({ seal, treeHead, keySet, rootPublicKey }: Readonly<Record<string, unknown>>): ArchiveTrailer {
  return {
    seal: String(seal),
    treeHead: String(treeHead),
    keySet: String(keySet),
    rootPublicKey: String(rootPublicKey),
  };
}

/** Control characters and U+FFFF would end a key early, or stand behind every other. */
function isKeyPart(part: unknown): part is string | number {
  if (typeof part !== 'string') return Number.isSafeInteger(part);
  if (part.length === 0 || part.length > 300) return false;
  return Array.from({ length: part.length }, (_, index) => part.charCodeAt(index)).every(
    (unit) => unit > 0x1f && unit !== 0xffff,
  );
}

function headerFrom(value: Readonly<Record<string, unknown>>): ArchiveHeader {
  const { format, version } = value;
  if (format !== ARCHIVE_FORMAT) throw badArchive('it does not begin like one');
  if (version !== ARCHIVE_VERSION)
    throw badArchive(`its version is ${String(version)}, this build reads ${ARCHIVE_VERSION}`);
  const tenant = value.tenant as TenantRecord | undefined;
  const isNamed = tenantIdSchema.safeParse(tenant?.tenantId).success && typeof tenant?.key === 'string';
  if (tenant === undefined || !isNamed) throw badArchive('it names no tenant');
  return { format, version, exportedAt: Number(value.exportedAt), tenant };
}

function parseLine(line: string, mayBeNumber = false): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new PlatformError('validation-failed', 'a line of the archive is no JSON', { cause });
  }
  if (typeof value === 'object' && value !== null) return value as Readonly<Record<string, unknown>>;
  if (mayBeNumber && typeof value === 'number') return {};
  throw badArchive('a line is no object');
}

function signedFrom(base64: unknown): Signed {
  try {
    return decodeSigned(Buffer.from(String(base64), 'base64')).signed;
  } catch (cause) {
    throw new PlatformError('validation-failed', 'the seal of the archive is damaged', { cause });
  }
}
