import { PlatformError } from '../platform-error.js';
import { isSignedBy, type Signed, type SigningKey, signDocument } from '../signed-config/signature.js';

/** Versions of the document; an unknown one is refused. */
const SCHEMA = 1;

/**
 * What the log of one owner was at one moment, signed. Whoever keeps it can show later that what was in the log then has been changed,
 * dropped or put in another order (I23): nobody who holds the log alone can make the old root again.
 */
export interface TreeHead {
  readonly schema: number;
  /** A tenant's id, or `$` for the installation's own log. */
  readonly owner: string;
  /** Entries 1 to `size` are meant. */
  readonly size: number;
  /** Merkle root over them, hex. */
  readonly root: string;
  /** Epoch milliseconds. For people; order is the size. */
  readonly issuedAt: number;
  /** Of the installation's newest restore, which cuts logs back to what the backup had; absent before the first. */
  readonly epoch?: number;
  readonly keyId: string;
}

/** Signs what the log is now. */
export function signTreeHead(head: Omit<TreeHead, 'schema' | 'keyId'>, key: SigningKey): Signed {
  const document: TreeHead = { schema: SCHEMA, ...head, keyId: key.keyId };
  return signDocument(Buffer.from(JSON.stringify(document), 'utf8'), key);
}

/** Throws `validation-failed` for what is no tree head. Says nothing about its signature. */
export function parseTreeHead(document: Uint8Array): TreeHead {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(document));
  } catch (cause) {
    throw new PlatformError('validation-failed', 'the tree head is not JSON', { cause });
  }
  if (!isTreeHead(value)) throw new PlatformError('validation-failed', 'this is no tree head of a version known here');
  return value;
}

function isTreeHead(value: unknown): value is TreeHead {
  if (typeof value !== 'object' || value === null) return false;
  const { schema, owner, size, root, issuedAt, epoch, keyId } = value as Partial<Record<keyof TreeHead, unknown>>;
  return (
    schema === SCHEMA &&
    typeof owner === 'string' &&
    Number.isSafeInteger(size) &&
    typeof root === 'string' &&
    /^[0-9a-f]{64}$/.test(root) &&
    Number.isSafeInteger(issuedAt) &&
    (epoch === undefined || Number.isSafeInteger(epoch)) &&
    typeof keyId === 'string'
  );
}

/** The tree head of `signed` when it carries the signature of the key it names, else undefined. */
export function verifyTreeHead(
  signed: Signed,
  keys: readonly { readonly keyId: string; readonly publicKey: string; readonly notAfter?: number }[],
): TreeHead | undefined {
  const head = parseTreeHead(signed.document);
  const key = keys.find(({ keyId }) => keyId === head.keyId);
  if (key === undefined || head.issuedAt > (key.notAfter ?? head.issuedAt)) return undefined;
  return isSignedBy(signed, key.publicKey) ? head : undefined;
}
