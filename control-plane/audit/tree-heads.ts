import { randomBytes } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { parseTenantId } from '@guidon/protocol';
import { encodeSigned } from '@guidon/protocol/msgpack';
import type { Signed, SigningKey } from '@guidon/protocol/signed-config';
import type { ControlStore, StoreTransaction } from '../store/control-store.js';
import { INSTALLATION, keys, lastPart, type Scope } from '../store/keys.js';
import { currentTreeHead, restoredEpoch } from './audit-proofs.js';
import { readAuditHead } from './audit-store.js';

/** The row under `keys.auditTreeHead`: the document exactly as it was signed, the signature in base64. */
export interface TreeHeadRow {
  readonly size: number;
  readonly root: string;
  readonly issuedAt: number;
  /** Absent before the first restore. */
  readonly epoch?: number;
  readonly keyId: string;
  readonly document: string;
  readonly signature: string;
}

export function signedHeadOf({ document, signature }: TreeHeadRow): Signed {
  return { document: Buffer.from(document, 'utf8'), signature: Buffer.from(signature, 'base64') };
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** How many of a log's heads are kept as they age: each of the last hour, then one an hour, a day, thirty days. */
const THINNING = [
  { youngerThanMs: HOUR_MS, oneInMs: 1 },
  { youngerThanMs: DAY_MS, oneInMs: HOUR_MS },
  { youngerThanMs: 60 * DAY_MS, oneInMs: DAY_MS },
  { youngerThanMs: Number.POSITIVE_INFINITY, oneInMs: 30 * DAY_MS },
] as const;
/** Of one log: twenty years of them. Beyond, the oldest go. */
export const TREE_HEADS_MAX = 400;

/** Of the heads of one log, oldest first, those that are no longer kept at `now`. The newest always is. */
export function outdatedHeads<Head extends { readonly issuedAt: number }>(
  heads: readonly Head[],
  now: number,
): readonly Head[] {
  const slots = new Set<string>();
  const kept = heads.filter(({ issuedAt }, index) => {
    const oneInMs = THINNING.find(({ youngerThanMs }) => now - issuedAt < youngerThanMs)?.oneInMs ?? 1;
    const slot = `${oneInMs}/${Math.floor(issuedAt / oneInMs)}`;
    const isFirst = !slots.has(slot);
    slots.add(slot);
    return isFirst || index === heads.length - 1;
  });
  const remaining = new Set(kept.slice(-TREE_HEADS_MAX));
  return heads.filter((head) => !remaining.has(head));
}

/** Logs whose heads go into one transaction, and heads in one answer to a node. */
const LOGS_PER_TRANSACTION_MAX = 100;
export const HEADS_PER_ANSWER_MAX = 1_000;

interface NewestHead {
  readonly generation: number;
  readonly size: number;
  readonly issuedAt: number;
  readonly epoch: number;
  readonly keyId: string;
  /** The encoded document with its signature, base64. */
  readonly signed: string;
}

/**
 * Signs what each log is, again and again, and keeps some of these heads: whoever holds one can show later that the log was changed. The newest
 * are handed to nodes, which keep them out of this process's reach.
 */
export class TreeHeads {
  readonly #store: ControlStore;
  readonly #signingKeys: { readonly signingKey: SigningKey };
  readonly #now: () => number;
  /** Cursors of another process mean nothing here. */
  readonly #boot = randomBytes(8).toString('hex');
  /** In the order of their generation: what has become newer moves to the end. */
  readonly #newest = new Map<Scope, NewestHead>();
  #generation = 0;
  #running: Promise<void> | undefined;
  #isClosed = false;

  constructor(store: ControlStore, signingKeys: { readonly signingKey: SigningKey }, now: () => number) {
    this.#store = store;
    this.#signingKeys = signingKeys;
    this.#now = now;
    for (const owner of this.#owners()) {
      const [last] = store.list<TreeHeadRow>(keys.auditTreeHeads(owner), { reverse: true, limit: 1 });
      if (last !== undefined) this.#remember(owner, last.value);
    }
  }

  /** Signs a head of every log that has grown since its last one. One run at a time; a call during one waits for it. */
  signGrown(): Promise<void> {
    this.#running ??= this.#signGrown().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** The newest head of each log, as far as they are newer than `cursor`, oldest first; and the cursor to go on with. */
  newestSince(cursor: string): {
    readonly heads: readonly string[];
    readonly cursor: string;
    readonly hasMore: boolean;
  } {
    const [boot, generation] = cursor.split('.');
    const since = boot === this.#boot ? Number(generation) : 0;
    if (since >= this.#generation) return { heads: [], cursor: `${this.#boot}.${this.#generation}`, hasMore: false };
    const newer = [...this.#newest.values()].filter((head) => head.generation > since);
    const heads = newer.slice(0, HEADS_PER_ANSWER_MAX);
    const reached = heads[heads.length - 1]?.generation ?? this.#generation;
    return {
      heads: heads.map(({ signed }) => signed),
      cursor: `${this.#boot}.${reached}`,
      hasMore: heads.length < newer.length,
    };
  }

  /** Nothing is signed from here on; resolves when what is being signed is. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#running?.catch(() => undefined);
  }

  /** The tenant is gone, and its rows with it. */
  forget(owner: Scope): void {
    this.#newest.delete(owner);
  }

  /** The installation's log and those of all tenants. */
  #owners(): Scope[] {
    return [INSTALLATION, ...this.#store.list(keys.tenants()).map(({ key }) => parseTenantId(lastPart(key)))];
  }

  async #signGrown(): Promise<void> {
    const owners = this.#owners();
    for (let from = 0; from < owners.length && !this.#isClosed; from += LOGS_PER_TRANSACTION_MAX) {
      const grown = owners.slice(from, from + LOGS_PER_TRANSACTION_MAX).filter((owner) => this.#isDue(owner));
      if (grown.length > 0) {
        const signed = await this.#store.transaction((transaction) =>
          grown.flatMap((owner) => this.#signHead(transaction, owner)),
        );
        for (const { owner, row } of signed) this.#remember(owner, row);
      }
      await nextTurn();
    }
  }

  /** It has grown, a restore may have cut it, or the key that signed its last head is not in use any more. */
  #isDue(owner: Scope): boolean {
    const newest = this.#newest.get(owner);
    const size = readAuditHead(this.#store, owner).sequence;
    if (newest === undefined) return size > 0;
    if (newest.epoch !== restoredEpoch(this.#store)) return size > 0;
    return size > newest.size || newest.keyId !== this.#signingKeys.signingKey.keyId;
  }

  #signHead(transaction: StoreTransaction, owner: Scope): { owner: Scope; row: TreeHeadRow }[] {
    // It may have been deleted since it was listed.
    if (owner !== INSTALLATION && !transaction.has(keys.tenant(owner))) return [];
    const now = this.#now();
    const { signed, head } = currentTreeHead(transaction, owner, now, this.#signingKeys.signingKey);
    const row: TreeHeadRow = {
      size: head.size,
      root: head.root,
      issuedAt: head.issuedAt,
      ...(head.epoch === undefined ? {} : { epoch: head.epoch }),
      keyId: head.keyId,
      document: Buffer.from(signed.document).toString('utf8'),
      signature: Buffer.from(signed.signature).toString('base64'),
    };
    transaction.put(keys.auditTreeHead(owner, row.size), row);
    const lastAt = this.#newest.get(owner)?.issuedAt ?? 0;
    // Once an hour is enough: until then there are sixty more than need be.
    if (Math.floor(lastAt / HOUR_MS) !== Math.floor(now / HOUR_MS)) thinOut(transaction, owner, now);
    return [{ owner, row }];
  }

  #remember(owner: Scope, row: TreeHeadRow): void {
    this.#generation += 1;
    this.#newest.delete(owner);
    this.#newest.set(owner, {
      generation: this.#generation,
      size: row.size,
      issuedAt: row.issuedAt,
      epoch: row.epoch ?? 0,
      keyId: row.keyId,
      signed: Buffer.from(encodeSigned(signedHeadOf(row))).toString('base64'),
    });
  }
}

function thinOut(transaction: StoreTransaction, owner: Scope, now: number): void {
  const heads = transaction.list<TreeHeadRow>(keys.auditTreeHeads(owner)).map(({ value }) => value);
  for (const { size } of outdatedHeads(heads, now)) transaction.remove(keys.auditTreeHead(owner, size));
}
