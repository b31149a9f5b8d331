import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  DOCUMENT_SCHEMA,
  encodeDocument,
  fingerprintOf,
  generateSigningKey,
  type KeySet,
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

/** Reads `<directory>/{root,signing}.pem`, making what is absent. The key set is signed anew at each start with the same version. */
export function openSigningKeys(directory: string, now: number): SigningKeys {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const root = openKey(join(directory, 'root.pem'));
  const signingKey = openKey(join(directory, 'signing.pem'));
  const keySet: KeySet = {
    schema: DOCUMENT_SCHEMA,
    version: 1,
    issuedAt: now,
    keys: [{ keyId: signingKey.keyId, publicKey: signingKey.publicKey }],
  };
  return {
    signingKey,
    keySet: signDocument(encodeDocument(keySet), root),
    rootPublicKey: root.publicKey,
    trustRoot: fingerprintOf(root.publicKey),
  };
}

/** Written beside and renamed, so that a kill never leaves half a key. */
function openKey(path: string): SigningKey {
  let pem: string;
  try {
    pem = readFileSync(path, 'utf8');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    const key = generateSigningKey();
    writeFileSync(`${path}.new`, signingKeyToPem(key), { mode: 0o600, flush: true });
    renameSync(`${path}.new`, path);
    return key;
  }
  return signingKeyFromPem(pem);
}
