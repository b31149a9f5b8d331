import { PlatformError } from '@guidon/protocol';
import { type AccessEntry, type AccessList, findCredential, isSecretOf } from '@guidon/protocol/signed-config';
import type { EnvironmentSlot } from '../environment-slot.js';
import type { RequestHead } from '../request-head.js';

/** Who sends the request. Tenant, project and environment come from here and nowhere else (I16). */
export interface Caller {
  readonly slot: EnvironmentSlot;
  readonly entry: AccessEntry;
}

interface VerifiedToken extends Caller {
  /** The list that vouched for it: another object means that the token has to be looked at again. */
  readonly accessList: AccessList;
}

const VERIFIED_COUNT_MAX = 10_000;
const BEARER = 'Bearer ';
/** Compared with when there is no such credential, so that an unknown id costs what a known one costs. */
const NO_SECRET_HASH = '0'.repeat(64);

/**
 * Credential -> environment, from the signed access lists alone.
 *
 * A token that was verified once is remembered as the whole header value, so that the hot path is one Map look-up instead of a parse, a
 * CRC and a SHA-256. An entry is believed only while its environment still has the very list that vouched for it; expiry is
 * looked at each time. Refused tokens are not remembered: each costs the same.
 */
export class AccessDirectory {
  readonly #slots = new Map<string, { slot: EnvironmentSlot; entry: AccessEntry }>();
  readonly #verified = new Map<string, VerifiedToken>();

  /** Takes a verified list into force for its environment. A credential id that another environment holds stays there. */
  replace(slot: EnvironmentSlot, accessList: AccessList): void {
    this.remove(slot);
    slot.accessList = accessList;
    for (const entry of accessList.entries) {
      if (!this.#slots.has(entry.credentialId)) this.#slots.set(entry.credentialId, { slot, entry });
    }
  }

  remove(slot: EnvironmentSlot): void {
    for (const entry of slot.accessList?.entries ?? []) {
      if (this.#slots.get(entry.credentialId)?.slot === slot) this.#slots.delete(entry.credentialId);
    }
    slot.accessList = undefined;
  }

  /** Throws `invalid-credentials`, with one text for every reason. `nowMs` is the wall clock: expiry is a date. */
  authenticate(head: RequestHead, nowMs: number): Caller {
    const header = head.apiKey === '' ? head.authorization : BEARER + head.apiKey;
    const known = this.#verified.get(header);
    if (known !== undefined && known.slot.accessList === known.accessList && isInForce(known.entry, nowMs))
      return known;
    return this.#verify(header, nowMs);
  }

  #verify(header: string, nowMs: number): Caller {
    this.#verified.delete(header);
    const credential =
      header.slice(0, BEARER.length).toLowerCase() === 'bearer ' ? findCredential(header.slice(7)) : undefined;
    if (credential === undefined) throw refused();
    const row = this.#slots.get(credential.credentialId);
    const isGenuine = isSecretOf(credential.secret, row?.entry.secretHash ?? NO_SECRET_HASH);
    const accessList = row?.slot.accessList;
    if (row === undefined || accessList === undefined || !isGenuine) throw refused();
    if (row.entry.kind !== credential.kind || !isInForce(row.entry, nowMs)) throw refused();
    if (this.#verified.size >= VERIFIED_COUNT_MAX) this.#forgetOldest();
    const caller = { slot: row.slot, entry: row.entry, accessList };
    this.#verified.set(header, caller);
    return caller;
  }

  #forgetOldest(): void {
    const oldest = this.#verified.keys().next();
    if (oldest.done !== true) this.#verified.delete(oldest.value);
  }
}

function isInForce(entry: AccessEntry, nowMs: number): boolean {
  return !entry.revoked && (entry.notAfter === null || nowMs < entry.notAfter);
}

function refused(): PlatformError {
  return new PlatformError('invalid-credentials', 'Send a valid credential as Authorization: Bearer or X-API-Key.');
}
