import { type Signed, VerifiedSignatures } from '@guidon/protocol/signed-config';

/** Of the newest revisions of so many environments. */
const REMEMBERED_COUNT_MAX = 256;

const remembered = new VerifiedSignatures(REMEMBERED_COUNT_MAX);
/** By the key under which it was found right. Clients that share a frame ask of one object, which nobody changes: it needs no second look. */
const rightKeys = new WeakMap<Signed, string>();

/** `isSignedBy`, once for all clients of this thread; which keys are to be trusted is for each client to say (Trust). */
export function isSignedByRemembered(signed: Signed, publicKey: string): boolean {
  if (rightKeys.get(signed) === publicKey) return true;
  const isRight = remembered.isSignedBy(signed, publicKey);
  if (isRight) rightKeys.set(signed, publicKey);
  return isRight;
}
