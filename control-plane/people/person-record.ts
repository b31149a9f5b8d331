import type { Versioned } from '../commit/change.js';

/** Row of a person. People are of the installation; what they are in a tenant says their membership. */
export interface PersonRecord extends Versioned {
  readonly personId: string;
  /** As it was given; look it up by `emailKeyOf`. */
  readonly email: string;
  readonly name: string;
  /** PHC string of argon2id; null = logs in through an identity provider only. */
  readonly passwordHash: string | null;
  /** Stands above every tenant's roles. */
  readonly isInstallationAdmin: boolean;
  /** Sessions of another epoch have ended: raising it ends them all at once, those being opened included. */
  readonly sessionEpoch: number;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  /** Epoch milliseconds; null = may log in. */
  readonly disabledAt: number | null;
}

/** Row under `keys.personEmail` and the like: which person something leads to. */
export interface PersonPointer extends Versioned {
  readonly personId: string;
}
