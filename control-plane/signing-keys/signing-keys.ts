import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PlatformError } from '@guidon/protocol';
import { decodeSigned, encodeSigned } from '@guidon/protocol/msgpack';
import {
  DOCUMENT_SCHEMA,
  encodeDocument,
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
  type TrustedKey,
} from '@guidon/protocol/signed-config';

/** Keys that a key set names. Retired ones stay until they are revoked: nodes may have documents of theirs on disk. */
const KEY_COUNT_MAX = 16;

/** `next`: named, but nothing is signed with it yet. `retired`: what it signed before holds. */
export type KeyState = 'next' | 'active' | 'retired';

/** A step of a rotation that nothing stands against, to be taken at once. */
export type KeyStep = (now: number) => void;

/**
 * The keys this control plane signs with: `<directory>/{root.pem,signing.pem,next.pem,key-set}`. The root key signs nothing but the key set,
 * and may be kept elsewhere between rotations. A rotation overlaps, so that everybody who verifies knows the next key before it signs:
 *
 *   introduction      next.pem is made and named in the key set beside the one that signs
 *   activation        next.pem becomes signing.pem, and the key before is gone; then the set says that what claims to be signed by it
 *                     later than now is refused. A kill between the two is made good by the next open()
 *   revocation        the set names it no longer: nothing that it signed holds, whatever its date
 *
 * Files are written whole.
 */
export class SigningKeys {
  readonly trustRoot: string;
  readonly rootPublicKey: string;
  readonly #directory: string;
  #signingKey: SigningKey;
  #next: SigningKey | undefined;
  #signedSet: Signed;
  #set: KeySet;

  /** Makes what is absent. Throws when the files do not belong together. */
  static open(directory: string, now: number): SigningKeys {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const path = join(directory, 'key-set');
    const stored = readIfThere(path);
    const root = readKey(directory, 'root');
    if (stored !== undefined) {
      const keys = new SigningKeys(directory, stored, root);
      if (root !== undefined) keys.#retireFormer(root, now);
      return keys;
    }
    const signer = root ?? makeKey(directory, 'root');
    const { keyId, publicKey } = readKey(directory, 'signing') ?? makeKey(directory, 'signing');
    const set: KeySet = { schema: DOCUMENT_SCHEMA, version: 1, issuedAt: now, keys: [{ keyId, publicKey }] };
    const signed = encodeSigned(signDocument(encodeDocument(set), signer), { rootPublicKey: signer.publicKey });
    writeWhole(path, signed);
    return new SigningKeys(directory, signed, signer);
  }

  /** As they are, changing nothing: beside a process that owns them. Undefined when there is no key set. */
  static read(directory: string): SigningKeys | undefined {
    const stored = readIfThere(join(directory, 'key-set'));
    return stored === undefined ? undefined : new SigningKeys(directory, stored, readKey(directory, 'root'));
  }

  private constructor(directory: string, storedSet: Uint8Array, root: SigningKey | undefined) {
    const { signed, extra } = decodeSigned(storedSet);
    const rootPublicKey = root?.publicKey ?? extra.get('rootPublicKey');
    const signingKey = readKey(directory, 'signing');
    this.#set = parseKeySet(signed.document);
    if (
      typeof rootPublicKey !== 'string' ||
      !isSignedBy(signed, rootPublicKey) ||
      signingKey === undefined ||
      !this.#names(signingKey.keyId)
    ) {
      throw new Error(`${directory} holds keys that do not belong together: restore all of its files at once`);
    }
    this.#directory = directory;
    this.#signedSet = signed;
    this.#signingKey = signingKey;
    this.#next = readKey(directory, 'next');
    this.rootPublicKey = rootPublicKey;
    this.trustRoot = fingerprintOf(rootPublicKey);
  }

  /** What everything is signed with now: ask for it at each signature. */
  get signingKey(): SigningKey {
    return this.#signingKey;
  }

  /** Signed by the root, as bytes were signed. */
  get keySet(): Signed {
    return this.#signedSet;
  }

  get version(): number {
    return this.#set.version;
  }

  list(): (TrustedKey & { readonly state: KeyState })[] {
    return this.#set.keys.map((key) => ({ ...key, state: this.#stateOf(key) }));
  }

  /** Names one more key, which signs once it is activated. Throws `conflict` while there is one already. */
  planIntroduction(): KeyStep {
    if (this.#next !== undefined && this.#names(this.#next.keyId)) {
      throw new PlatformError('conflict', 'there is a next key already: activate or revoke it first');
    }
    if (this.#set.keys.length >= KEY_COUNT_MAX) {
      throw new PlatformError('limit-exceeded', `there are at most ${KEY_COUNT_MAX} keys: revoke retired ones first`);
    }
    const root = this.#root();
    return (now) => {
      // One that was made and not named by then is of use now.
      this.#next ??= makeKey(this.#directory, 'next');
      const { keyId, publicKey } = this.#next;
      this.#replaceSet([...this.#set.keys, { keyId, publicKey }], root, now);
    };
  }

  /** From then on the next key signs. */
  planActivation(keyId: string): KeyStep {
    const next = this.#next;
    if (this.#find(keyId).state !== 'next' || next === undefined) throw this.#conflict(keyId, 'the next one');
    const root = this.#root();
    return (now) => {
      renameSync(join(this.#directory, 'next.pem'), join(this.#directory, 'signing.pem'));
      this.#signingKey = next;
      this.#next = undefined;
      this.#retireFormer(root, now);
    };
  }

  /** Of everything but the key that signs. */
  planRevocation(keyId: string): KeyStep {
    const { state } = this.#find(keyId);
    if (state === 'active') throw this.#conflict(keyId, 'one that does not sign: activate another one first');
    const root = this.#root();
    return (now) => {
      const keys = this.#set.keys.filter((key) => key.keyId !== keyId);
      this.#replaceSet(keys, root, now);
      if (state !== 'next') return;
      rmSync(join(this.#directory, 'next.pem'));
      this.#next = undefined;
    };
  }

  #retireFormer(root: SigningKey, now: number): void {
    const isFormer = ({ keyId, notAfter }: TrustedKey): boolean =>
      notAfter === undefined && keyId !== this.#signingKey.keyId && keyId !== this.#next?.keyId;
    if (!this.#set.keys.some(isFormer)) return;
    const keys = this.#set.keys.map((key) => (isFormer(key) ? { ...key, notAfter: now } : key));
    this.#replaceSet(keys, root, now);
  }

  #replaceSet(keys: readonly TrustedKey[], root: SigningKey, now: number): void {
    const set: KeySet = { schema: DOCUMENT_SCHEMA, version: this.#set.version + 1, issuedAt: now, keys };
    const signed = signDocument(encodeDocument(set), root);
    writeWhole(join(this.#directory, 'key-set'), encodeSigned(signed, { rootPublicKey: this.rootPublicKey }));
    this.#set = set;
    this.#signedSet = signed;
  }

  #root(): SigningKey {
    const root = readKey(this.#directory, 'root');
    if (root === undefined || root.publicKey !== this.rootPublicKey) {
      throw new PlatformError('conflict', 'the root key is not here: put root.pem beside the key set for this change');
    }
    return root;
  }

  #stateOf({ keyId }: TrustedKey): KeyState {
    if (keyId === this.#signingKey.keyId) return 'active';
    return keyId === this.#next?.keyId ? 'next' : 'retired';
  }

  #names(keyId: string): boolean {
    return this.#set.keys.some((key) => key.keyId === keyId);
  }

  #find(keyId: string): TrustedKey & { readonly state: KeyState } {
    const key = this.list().find((each) => each.keyId === keyId);
    if (key === undefined) throw new PlatformError('not-found', 'there is no such key');
    return key;
  }

  #conflict(keyId: string, wanted: string): PlatformError {
    return new PlatformError('conflict', `key ${keyId} is ${this.#find(keyId).state}, not ${wanted}`);
  }
}

type KeyName = 'root' | 'signing' | 'next';

function readKey(directory: string, name: KeyName): SigningKey | undefined {
  const stored = readIfThere(join(directory, `${name}.pem`));
  return stored === undefined ? undefined : signingKeyFromPem(stored.toString('utf8'));
}

function makeKey(directory: string, name: KeyName): SigningKey {
  const key = generateSigningKey();
  writeWhole(join(directory, `${name}.pem`), signingKeyToPem(key));
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
