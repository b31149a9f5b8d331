import { parseTreeHead, type TreeHead } from '../audit-proof/tree-head.js';
import { type EnvironmentRef, isSameEnvironment } from '../environment-ref.js';
import { PlatformError } from '../platform-error.js';
import {
  type AccessList,
  type KeySet,
  type Manifest,
  parseAccessList,
  parseKeySet,
  parseManifest,
} from './documents.js';
import { fingerprintOf, isSignedBy, type Signed } from './signature.js';

/**
 * The verifying side: pinned root -> key set -> signing keys -> manifests and access lists. Whatever source bytes come from (bus,
 * HTTP, disk), nothing else decides whether they are trusted.
 */
export class TrustedKeys {
  readonly #rootPublicKey: string;
  readonly #isSigned: typeof isSignedBy;
  #keySet: KeySet | undefined;

  /**
   * `trustRoot` is the fingerprint the operator pinned; undefined pins the given key at first use. `isSigned` answers what isSignedBy does: for who has
   * the same documents verified by many.
   */
  constructor(rootPublicKey: string, trustRoot?: string, isSigned = isSignedBy) {
    if (trustRoot !== undefined && fingerprintOf(rootPublicKey) !== trustRoot) {
      throw new PlatformError('invalid-credentials', 'the root key is not the one pinned as trust root');
    }
    this.#rootPublicKey = rootPublicKey;
    this.#isSigned = isSigned;
  }

  get keySetVersion(): number {
    return this.#keySet?.version ?? 0;
  }

  /** Takes a key set signed by the root; an older version than the one in force is refused. */
  acceptKeySet(signed: Signed): KeySet {
    if (!this.#isSigned(signed, this.#rootPublicKey)) throw untrusted('the key set is not signed by the root key');
    const keySet = parseKeySet(signed.document);
    if (keySet.version < this.keySetVersion) throw untrusted('the key set is older than the one in force');
    this.#keySet = keySet;
    return keySet;
  }

  /**
   * Signature and environment; the revision rule is the caller's, who knows the high-water mark. `manifest` is what `parseManifest` gives of that
   * document, for who has it already.
   */
  verifyManifest(environment: EnvironmentRef, signed: Signed, manifest = parseManifest(signed.document)): Manifest {
    this.#verify(environment, manifest, signed);
    return manifest;
  }

  verifyAccessList(environment: EnvironmentRef, signed: Signed): AccessList {
    const accessList = parseAccessList(signed.document);
    this.#verify(environment, accessList, signed);
    return accessList;
  }

  /** What an audit log was, as the control plane signed it; whether it continues an earlier head is the caller's to check. */
  verifyTreeHead(signed: Signed): TreeHead {
    const head = parseTreeHead(signed.document);
    this.#verifySignature(head, signed);
    return head;
  }

  /** Could what names this key and this time be trusted, if its signature is right? */
  isInForce({ keyId, issuedAt }: { readonly keyId: string; readonly issuedAt: number }): boolean {
    const key = this.#keySet?.keys.find((candidate) => candidate.keyId === keyId);
    return key !== undefined && issuedAt <= (key.notAfter ?? issuedAt);
  }

  #verifySignature(document: { readonly keyId: string; readonly issuedAt: number }, signed: Signed): void {
    const key = this.#keySet?.keys.find(({ keyId }) => keyId === document.keyId);
    if (key === undefined) throw untrusted('the document names a key that is not in force');
    if (key.notAfter !== undefined && document.issuedAt > key.notAfter) {
      throw untrusted('the document was issued after its key had been retired');
    }
    if (!this.#isSigned(signed, key.publicKey)) throw untrusted('the signature is wrong');
  }

  #verify(
    environment: EnvironmentRef,
    document: EnvironmentRef & { readonly keyId: string; readonly issuedAt: number },
    signed: Signed,
  ): void {
    this.#verifySignature(document, signed);
    if (!isSameEnvironment(environment, document)) throw untrusted('the document belongs to another environment');
  }
}

function untrusted(detail: string): PlatformError {
  return new PlatformError('invalid-credentials', detail);
}
