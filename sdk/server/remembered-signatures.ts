import { VerifiedSignatures } from '@guidon/protocol/signed-config';

/** Of the newest revisions of so many environments. */
const REMEMBERED_COUNT_MAX = 256;

/** `isSignedBy`, once for all clients of this thread; which keys are to be trusted is for each client to say (Trust). */
export const { isSignedBy: isSignedByRemembered } = new VerifiedSignatures(REMEMBERED_COUNT_MAX);
