import { PlatformError } from '@guidon/protocol';
import { findStreamToken, isGenuineToken, type StreamUse } from '@guidon/protocol/live-updates';
import { type AccessEntry, type AccessList, findCredential, isSecretOf } from '@guidon/protocol/signed-config';
import type { EnvironmentSlot } from '../environment-slot.js';
import type { Accounts, QuotaLedger } from '../quota/quota-ledger.js';
import type { RequestHead } from '../request-head.js';

/** Who sends the request. Tenant, project and environment come from here and nowhere else (I16). */
export interface Caller extends Accounts {
  readonly slot: EnvironmentSlot;
  readonly entry: AccessEntry;
}

interface VerifiedToken extends Caller {
  /** The whole header value. */
  readonly header: string;
  /** The list that vouched for it: another object means that the token has to be looked at again. */
  readonly accessList: AccessList;
}

/** A power of two. */
const VERIFIED_COUNT_MAX = 8_192;
const BEARER = 'Bearer ';
/** Compared with when there is no such credential, so that an unknown id costs what a known one costs. */
const NO_SECRET_HASH = '0'.repeat(64);

/**
 * Credential -> environment, from the signed access lists alone.
 *
 * A token that was verified once is remembered by the whole header value, so that the hot path is one comparison of strings instead of a
 * parse, a CRC and a SHA-256. The memory is a table with one place per pair of check characters, which are as good as random: no
 * hash of the header is needed, and a later token simply takes the place. An entry is believed only while its environment still
 * has the very list that vouched for it; expiry is looked at each time. Refused tokens are not remembered: each costs the same.
 */
export class AccessDirectory {
  readonly #callers = new Map<string, Caller>();
  readonly #ledger: QuotaLedger;
  readonly #knowsEveryone: () => boolean;
  #onChange: (slot: EnvironmentSlot) => void = () => undefined;
  readonly #verified: (VerifiedToken | undefined)[] = new Array<VerifiedToken | undefined>(VERIFIED_COUNT_MAX).fill(
    undefined,
  );

  /** `knowsEveryone`: every environment's list is there, so an id in none of them is nobody's. */
  constructor(ledger: QuotaLedger, knowsEveryone: () => boolean = () => true) {
    this.#ledger = ledger;
    this.#knowsEveryone = knowsEveryone;
  }

  /** Takes a verified list into force for its environment. A credential id that another environment holds stays there. */
  replace(slot: EnvironmentSlot, accessList: AccessList): void {
    const ledger = this.#ledger;
    const before = this.#callersOf(slot);
    for (const { entry } of before) this.#callers.delete(entry.credentialId);
    slot.accessList = accessList;
    for (const entry of accessList.entries) {
      if (this.#callers.has(entry.credentialId)) continue;
      const tenantAccount = ledger.acquire('tenant', slot.environment.tenantId);
      const credentialAccount = ledger.acquire('credential', entry.credentialId);
      ledger.limitTenant(tenantAccount, accessList.quotas ?? {}, accessList.issuedAt);
      ledger.limitCredential(credentialAccount, entry.quotas ?? {});
      this.#callers.set(entry.credentialId, { slot, entry, tenantAccount, credentialAccount });
    }
    // Only now, so that who stays in the list keeps what is in the account.
    this.#release(before);
    this.#onChange(slot);
  }

  /** Told of each environment whose keys may have changed: whoever lets somebody stay looks again. */
  onChange(listener: (slot: EnvironmentSlot) => void): void {
    this.#onChange = listener;
  }

  /** The caller a credential stands for in an environment, while it is in force. */
  findCaller(credentialId: string, now: () => number): Caller | undefined {
    const caller = this.#callers.get(credentialId);
    return caller !== undefined && isInForce(caller.entry, now) ? caller : undefined;
  }

  remove(slot: EnvironmentSlot): void {
    const before = this.#callersOf(slot);
    for (const { entry } of before) this.#callers.delete(entry.credentialId);
    slot.accessList = undefined;
    this.#release(before);
    this.#onChange(slot);
  }

  #callersOf(slot: EnvironmentSlot): Caller[] {
    const entries = slot.accessList?.entries ?? [];
    return entries.flatMap(({ credentialId }) => {
      const caller = this.#callers.get(credentialId);
      return caller?.slot === slot ? [caller] : [];
    });
  }

  #release(callers: readonly Caller[]): void {
    for (const { tenantAccount, credentialAccount } of callers) {
      this.#ledger.release(tenantAccount);
      this.#ledger.release(credentialAccount);
    }
  }

  /**
   * Throws `invalid-credentials`, with one text for every reason; `not-ready` for an id that a list which has not arrived yet may hold.
   * `now` is the wall clock: expiry is a date.
   */
  authenticate(head: RequestHead, now: () => number): Caller {
    const header = head.apiKey === '' ? head.authorization : BEARER + head.apiKey;
    const place = placeOf(header);
    const known = this.#verified[place];
    if (known !== undefined && known.header === header && known.slot.accessList === known.accessList) {
      if (isInForce(known.entry, now)) return known;
    }
    const caller = this.#verify(header, now);
    this.#verified[place] = caller;
    return caller;
  }

  /** As `authenticate`, by a token that its key was exchanged for. */
  authenticateToken(text: string, use: StreamUse, now: () => number): Caller {
    const token = findStreamToken(text);
    if (token === undefined || token.use !== use || now() >= token.expiresAt) throw refused();
    const caller = this.findCaller(token.credentialId, now);
    if (caller === undefined) throw this.#knowsEveryone() ? refused() : unknownYet();
    const { slot, entry } = caller;
    if ((entry.kind !== 'web' && use !== 'refetch') || !isGenuineToken(slot.environment, token, entry.secretHash))
      throw refused();
    return caller;
  }

  #verify(header: string, now: () => number): VerifiedToken {
    const isBearer = header.slice(0, BEARER.length).toLowerCase() === 'bearer ';
    const credential = isBearer ? findCredential(header.slice(BEARER.length)) : undefined;
    if (credential === undefined) throw refused();
    const row = this.#callers.get(credential.credentialId);
    const isGenuine = isSecretOf(credential.secret, row?.entry.secretHash ?? NO_SECRET_HASH);
    const accessList = row?.slot.accessList;
    if (row === undefined && !this.#knowsEveryone()) throw unknownYet();
    if (row === undefined || accessList === undefined || !isGenuine) throw refused();
    if (row.entry.kind !== credential.kind || !isInForce(row.entry, now)) throw refused();
    return { ...row, header, accessList };
  }
}

/** Of the last three characters, 6 bits each; any number will do for what is not a token. */
function placeOf(header: string): number {
  const last = header.length - 1;
  const bits =
    (header.charCodeAt(last) & 0x3f) |
    ((header.charCodeAt(last - 1) & 0x3f) << 6) |
    ((header.charCodeAt(last - 2) & 0x3f) << 12);
  return bits & (VERIFIED_COUNT_MAX - 1);
}

function isInForce(entry: AccessEntry, now: () => number): boolean {
  return !entry.revoked && (entry.notAfter === null || now() < entry.notAfter);
}

function unknownYet(): PlatformError {
  return new PlatformError('not-ready', 'This node does not know every credential yet.');
}

function refused(): PlatformError {
  return new PlatformError('invalid-credentials', 'Send a valid credential as Authorization: Bearer or X-API-Key.');
}
