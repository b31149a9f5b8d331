import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  DOCUMENT_SCHEMA,
  decodeSigned,
  encodeDocument,
  encodeSigned,
  fingerprintOf,
  generateSigningKey,
  isSignedBy,
  type KeySet,
  parseKeySet,
  type Signed,
  type SigningKey,
  signDocument,
  signingKeyFromPem,
  signingKeyToPem,
} from '@guidon/protocol/signed-config';

/** The keys this control plane signs with. Made at first start; the root key signs nothing but the key set. */
export interface SigningKeys {
  readonly signingKey: SigningKey;
  readonly keySet: Signed;
  readonly rootPublicKey: string;
  /** Fingerprint of the root key: what an operator pins. */
  readonly trustRoot: string;
}

/** Reads `<directory>/{root.pem,signing.pem,key-set}`, making what is absent. The key set is signed once and kept as it was signed. */
export function openSigningKeys(directory: string, now: number): SigningKeys {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const root = openKey(join(directory, 'root.pem'));
  const signingKey = openKey(join(directory, 'signing.pem'));
  return {
    signingKey,
    keySet: openKeySet(join(directory, 'key-set'), root, signingKey, now),
    rootPublicKey: root.publicKey,
    trustRoot: fingerprintOf(root.publicKey),
  };
}

function openKeySet(path: string, root: SigningKey, signingKey: SigningKey, now: number): Signed {
  const stored = readIfThere(path);
  if (stored !== undefined) {
    const { signed } = decodeSigned(stored);
    const names = parseKeySet(signed.document).keys.some(({ keyId }) => keyId === signingKey.keyId);
    if (!isSignedBy(signed, root.publicKey) || !names) {
      throw new Error(`${path} does not belong to the keys beside it: restore all three files together`);
    }
    return signed;
  }
  const keySet: KeySet = {
    schema: DOCUMENT_SCHEMA,
    version: 1,
    issuedAt: now,
    keys: [{ keyId: signingKey.keyId, publicKey: signingKey.publicKey }],
  };
  const signed = signDocument(encodeDocument(keySet), root);
  writeWhole(path, encodeSigned(signed));
  return signed;
}

function openKey(path: string): SigningKey {
  const stored = readIfThere(path);
  if (stored !== undefined) return signingKeyFromPem(stored.toString('utf8'));
  const key = generateSigningKey();
  writeWhole(path, signingKeyToPem(key));
  return key;
}

function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Written beside and renamed, so that a kill never leaves half a file. Nobody but the owner may read it. */
function writeWhole(path: string, content: string | Uint8Array): void {
  writeFileSync(`${path}.new`, content, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
}
