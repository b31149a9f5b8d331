import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createGzip } from 'node:zlib';
import type { TenantId } from '@guidon/protocol';
import { encodeSigned } from '@guidon/protocol/msgpack';
import type { Signed } from '@guidon/protocol/signed-config';
import { currentTreeHead } from '../audit/audit-proofs.js';
import type { ControlPlaneCore } from '../core.js';
import { keys, type StoreKey } from '../store/keys.js';
import { getTenant } from '../tenants/tenant-read-model.js';
import {
  ARCHIVE_FORMAT,
  ARCHIVE_VERSION,
  ARCHIVED_NOUNS,
  type ArchiveHeader,
  type ArchiveRow,
  type ArchiveTrailer,
  signSeal,
} from './archive-format.js';

/** The archive of a tenant as it is when the first byte is asked for. */
export async function* exportTenant(core: ControlPlaneCore, tenantId: TenantId): AsyncGenerator<Uint8Array> {
  const gzip = createGzip();
  const written = pipeline(Readable.from(linesOf(core, tenantId)), gzip);
  // Heard here already: the reader below is told by the gzip stream itself.
  written.catch(() => {});
  yield* gzip as AsyncIterable<Uint8Array>;
  await written;
}

async function* linesOf({ store, signingKeys, now }: ControlPlaneCore, tenantId: TenantId): AsyncGenerator<string> {
  const snapshot = store.openSnapshot();
  try {
    const exportedAt = now();
    const tenant = getTenant(snapshot, tenantId);
    const { signed: treeHead } = currentTreeHead(snapshot, tenantId, exportedAt, signingKeys.signingKey);
    const digest = createHash('sha256');
    let rowCount = 0;
    const line = (value: ArchiveHeader | ArchiveRow): string => {
      const text = `${JSON.stringify(value)}\n`;
      digest.update(text);
      return text;
    };
    yield line({ format: ARCHIVE_FORMAT, version: ARCHIVE_VERSION, exportedAt, tenant });
    for (const page of snapshot.pages(keys.tenantRows(tenantId))) {
      for (const { key, bytes } of page) {
        const text = archivedText(key, bytes);
        if (text === undefined) continue;
        rowCount += 1;
        yield line({ key: key.slice(1), text });
      }
      await nextTurn();
    }
    const seal = { tenantId, rowCount, digest: digest.digest('hex'), exportedAt };
    const trailer: ArchiveTrailer = {
      seal: base64(signSeal(seal, signingKeys.signingKey)),
      treeHead: base64(treeHead),
      keySet: base64(signingKeys.keySet),
      rootPublicKey: signingKeys.rootPublicKey,
    };
    yield `${JSON.stringify(trailer)}\n`;
  } finally {
    snapshot.close();
  }
}

/** The row as it goes into the archive; undefined when it stays here. */
function archivedText(key: StoreKey, bytes: Buffer): string | undefined {
  const noun = String(key[2]);
  const fate = ARCHIVED_NOUNS[noun];
  if (fate === undefined) throw new Error(`nobody has said whether rows of ${noun} belong into an archive`);
  if (fate === 'left-out') return undefined;
  const text = bytes.toString('utf8');
  if (fate === 'kept') return text;
  const { secretHash: _, ...record } = JSON.parse(text) as { secretHash: string };
  return JSON.stringify(record);
}

const base64 = (signed: Signed): string => Buffer.from(encodeSigned(signed)).toString('base64');
