import { hash } from 'node:crypto';

/**
 * A JSON row with its own checksum: LMDB has none, a flipped bit would otherwise be read as a smaller high-water mark (M5).
 *   0   8  first bytes of SHA-256 over the rest
 *   8      JSON, UTF-8
 */
const CHECKSUM_BYTES = 8;

export function sealJson(value: unknown): Uint8Array {
  const json = Buffer.from(JSON.stringify(value));
  return Buffer.concat([Buffer.from(checksumOf(json), 'hex'), json]);
}

/** Undefined for bytes that were not written by `sealJson` or have changed since. */
export function openJson(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  if (bytes.length < CHECKSUM_BYTES) return undefined;
  const row = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const json = row.subarray(CHECKSUM_BYTES);
  if (checksumOf(json) !== row.toString('hex', 0, CHECKSUM_BYTES)) return undefined;
  const value: unknown = JSON.parse(json.toString('utf8'));
  return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : undefined;
}

/** In hex. */
function checksumOf(json: Uint8Array): string {
  return hash('sha256', json, 'hex').slice(0, CHECKSUM_BYTES * 2);
}
