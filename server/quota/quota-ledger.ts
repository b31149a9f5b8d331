import assert from 'node:assert';
import type { CredentialQuotas, TenantQuotas } from '@guidon/protocol/signed-config';
import { defaultNodeQuotas, type NodeQuotas } from './node-quotas.js';

/**
 * One account is CELLS numbers in a row, all whole and far below 2^53, so all sums are exact. Tokens are counted in thousandths: a rate of
 * r a second earns r thousandths a millisecond. A bucket holds one second's worth.
 *
 *   cell                unit         meaning
 *   REQUEST_RATE        1/s          0 = no limit
 *   REQUEST_TOKENS      1/1000       a request needs and takes 1 000
 *   EVALUATION_RATE     1/s          0 = no limit
 *   EVALUATION_TOKENS   1/1000       below zero after a large request; a request needs more than 0
 *   REFILLED_AT         ms           when both buckets were last filled
 *   CONNECTION_MAX      count        0 = no limit
 *   BUSY                count        connections with a request in progress
 *   HELD                bytes        of answers not taken yet
 *   REFUSED_SECOND      s            the second that REFUSED counts
 *   REFUSED             count        refusals in it
 *   LIMITED             0 or 1       whether any of the three limits is set: what the hot path looks at
 *   OWNERS              count        access lists that name it; with 0, BUSY 0 and POOLED 0 the row is free
 *   ISSUED_AT           ms           of the access list that a tenant's limits come from
 *   SNAPSHOT_BYTES_MAX  bytes        of a tenant; 0 = no limit
 *   POOL_SLOTS_MAX      count        of a tenant; 0 = no limit
 *   POOLED              count        requests that run or wait in the evaluation pool
 */
const REQUEST_RATE = 0;
const REQUEST_TOKENS = 1;
const EVALUATION_RATE = 2;
const EVALUATION_TOKENS = 3;
const REFILLED_AT = 4;
const CONNECTION_MAX = 5;
const BUSY = 6;
const HELD = 7;
const REFUSED_SECOND = 8;
const REFUSED = 9;
const LIMITED = 10;
const OWNERS = 11;
const ISSUED_AT = 12;
const SNAPSHOT_BYTES_MAX = 13;
const POOL_SLOTS_MAX = 14;
const POOLED = 15;
const CELLS = 16;

const THOUSAND = 1_000;
const FIRST_ACCOUNTS = 256;
/** Beyond it credentials and tenants share one account each kind (I25). 128 MiB. */
const ACCOUNT_COUNT_MAX = 1_048_576;
/** So many refusals of one credential within a second, and its connections close with the next. */
export const REFUSALS_PER_SECOND_MAX = 100;
const RETRY_AFTER_SECONDS_MAX = 60;

/** The account of the process itself: what everybody holds together. */
export const NODE_ACCOUNT = 0;

export type QuotaScope = 'tenant' | 'credential';
export type QuotaName = 'requestsPerSecond' | 'evaluationsPerSecond' | 'connections' | 'poolSlots';

/** Whose account a request is on. */
export interface Accounts {
  readonly tenantAccount: number;
  readonly credentialAccount: number;
}

/**
 * Who has used how much of this process: token buckets and counts of every tenant and credential, in one typed array. Accounts are made when
 * an access list names them and keep their buckets for as long as any list does. Nothing is allocated for a request.
 */
export class QuotaLedger {
  readonly quotas: NodeQuotas;
  /** Refusals so far, for the metrics. */
  readonly refusals = { requestsPerSecond: 0, evaluationsPerSecond: 0, connections: 0, poolSlots: 0, heldBytes: 0 };
  readonly #clock: { readonly nowMs: number };
  readonly #accountMax: number;
  readonly #accounts = new Map<string, number>();
  readonly #idOf = new Map<number, string>();
  readonly #free: number[] = [];
  #cells = new Float64Array(FIRST_ACCOUNTS * CELLS);
  #accountCount = 1;
  #refusedScope: QuotaScope = 'tenant';
  #refusedName: QuotaName = 'requestsPerSecond';

  constructor(
    quotas: NodeQuotas = defaultNodeQuotas(),
    clock: { readonly nowMs: number } = { nowMs: 0 },
    accountMax = ACCOUNT_COUNT_MAX,
  ) {
    this.quotas = quotas;
    this.#clock = clock;
    this.#accountMax = accountMax;
  }

  get accountCount(): number {
    return this.#accounts.size;
  }

  /** Finds or makes the account and counts one more owner: `release` it as often. `id` is globally unique within its scope. */
  acquire(scope: QuotaScope, id: string): number {
    const isFull = this.#free.length === 0 && this.#accountCount >= this.#accountMax - 2;
    let key = `${scope}:${id}`;
    // An id never is empty: the last two rows are the shared ones.
    if (isFull && !this.#accounts.has(key)) key = `${scope}:`;
    const account = this.#accounts.get(key) ?? this.#open(key);
    this.#add(account, OWNERS, 1);
    return account;
  }

  release(account: number): void {
    this.#add(account, OWNERS, -1);
    this.#freeIfUnused(account);
  }

  /** `issuedAt` of the list: the newest of a tenant's lists says what holds, in whatever order they arrive. */
  limitTenant(account: number, quotas: TenantQuotas, issuedAt: number): void {
    if (issuedAt < this.#cell(account, ISSUED_AT)) return;
    const limits = { ...this.quotas.tenant, ...quotas };
    this.#set(account, ISSUED_AT, issuedAt);
    this.#set(account, SNAPSHOT_BYTES_MAX, limits.snapshotBytes ?? 0);
    this.#set(account, POOL_SLOTS_MAX, limits.poolSlots ?? 0);
    this.#limit(account, limits);
  }

  /** Bytes of snapshots that a tenant may have resident at one time; undefined = no limit of its own. */
  snapshotBytesMaxOf(tenantId: string): number | undefined {
    return this.#tenantLimit(tenantId, SNAPSHOT_BYTES_MAX);
  }

  /** Counts a tenant's request into the evaluation pool: true, and `leavePool` follows once; false when the tenant has too many there. */
  enterPool(tenantAccount: number): boolean {
    const slotsMax = this.#cell(tenantAccount, POOL_SLOTS_MAX);
    if (slotsMax > 0 && this.#cell(tenantAccount, POOLED) >= slotsMax) {
      this.refusals.poolSlots += 1;
      return false;
    }
    this.#add(tenantAccount, POOLED, 1);
    return true;
  }

  leavePool(tenantAccount: number): void {
    if (this.#add(tenantAccount, POOLED, -1) === 0) this.#freeIfUnused(tenantAccount);
  }

  #tenantLimit(tenantId: string, cell: number): number | undefined {
    const account = this.#accounts.get(`tenant:${tenantId}`);
    const limit = account === undefined ? 0 : this.#cell(account, cell);
    return limit === 0 ? undefined : limit;
  }

  limitCredential(account: number, quotas: CredentialQuotas): void {
    this.#limit(account, { ...this.quotas.credential, ...quotas });
  }

  /**
   * Counts a request in: 0, and `leave` follows once; or the whole seconds (1 to 60) after which it may come again, and nothing was taken.
   * Both accounts are asked before either pays.
   */
  enter({ tenantAccount, credentialAccount }: Accounts): number {
    const isLimited = this.#cell(tenantAccount, LIMITED) + this.#cell(credentialAccount, LIMITED) > 0;
    if (isLimited) {
      const waitMs = this.#waitMs(tenantAccount, 'tenant') || this.#waitMs(credentialAccount, 'credential');
      if (waitMs > 0) {
        this.refusals[this.#refusedName] += 1;
        return Math.min(Math.ceil(waitMs / THOUSAND), RETRY_AFTER_SECONDS_MAX);
      }
      this.#payRequest(tenantAccount);
      this.#payRequest(credentialAccount);
    }
    this.#add(tenantAccount, BUSY, 1);
    this.#add(credentialAccount, BUSY, 1);
    return 0;
  }

  /** What the last refusal of `enter` was about. */
  get lastRefusal(): { readonly scope: QuotaScope; readonly name: QuotaName } {
    return { scope: this.#refusedScope, name: this.#refusedName };
  }

  /** The request is answered or its client is gone. */
  leave({ tenantAccount, credentialAccount }: Accounts): void {
    if (this.#add(tenantAccount, BUSY, -1) === 0) this.#freeIfUnused(tenantAccount);
    if (this.#add(credentialAccount, BUSY, -1) === 0) this.#freeIfUnused(credentialAccount);
  }

  /**
   * Charges what a request turned out to have asked for. The bucket may go below zero by as much as one request can ask; until it is positive
   * again requests are refused. So a batch larger than the limit is possible, and the mean rate is still held.
   */
  charge({ tenantAccount, credentialAccount }: Accounts, evaluations: number): void {
    if (this.#cell(tenantAccount, EVALUATION_RATE) > 0) {
      this.#add(tenantAccount, EVALUATION_TOKENS, -evaluations * THOUSAND);
    }
    if (this.#cell(credentialAccount, EVALUATION_RATE) > 0) {
      this.#add(credentialAccount, EVALUATION_TOKENS, -evaluations * THOUSAND);
    }
  }

  /** Counts a refusal; true once there have been so many within this second that the connection is closed with the answer. */
  countRefusal(account: number): boolean {
    const second = Math.floor(this.#clock.nowMs / THOUSAND);
    if (this.#cell(account, REFUSED_SECOND) !== second) {
      this.#set(account, REFUSED_SECOND, second);
      this.#set(account, REFUSED, 0);
    }
    return this.#add(account, REFUSED, 1) >= REFUSALS_PER_SECOND_MAX;
  }

  /** True while no more answers are held for the tenant, and for all together, than may be. */
  canHold(account: number): boolean {
    const { heldBytes, tenantHeldBytes } = this.quotas.node;
    return this.heldBytes < heldBytes && (account === NODE_ACCOUNT || this.#cell(account, HELD) < tenantHeldBytes);
  }

  /** Counts bytes of an answer that wait for their client. The last answer may pass the bound, by its own size. */
  hold(account: number, bytes: number): void {
    this.#add(NODE_ACCOUNT, HELD, bytes);
    if (account !== NODE_ACCOUNT) this.#add(account, HELD, bytes);
  }

  unhold(account: number, bytes: number): void {
    this.#add(NODE_ACCOUNT, HELD, -bytes);
    if (account !== NODE_ACCOUNT) this.#add(account, HELD, -bytes);
  }

  get heldBytes(): number {
    return this.#cell(NODE_ACCOUNT, HELD);
  }

  /** Connections with a request in progress. */
  busyOf(account: number): number {
    return this.#cell(account, BUSY);
  }

  #waitMs(account: number, scope: QuotaScope): number {
    if (this.#cell(account, LIMITED) === 0) return 0;
    this.#refusedScope = scope;
    const connectionMax = this.#cell(account, CONNECTION_MAX);
    if (connectionMax > 0 && this.#cell(account, BUSY) >= connectionMax) {
      this.#refusedName = 'connections';
      return 1;
    }
    this.#refill(account);
    const requestRate = this.#cell(account, REQUEST_RATE);
    const requestLack = THOUSAND - this.#cell(account, REQUEST_TOKENS);
    if (requestRate > 0 && requestLack > 0) {
      this.#refusedName = 'requestsPerSecond';
      return Math.ceil(requestLack / requestRate);
    }
    const evaluationRate = this.#cell(account, EVALUATION_RATE);
    const evaluationLack = 1 - this.#cell(account, EVALUATION_TOKENS);
    if (evaluationRate > 0 && evaluationLack > 0) {
      this.#refusedName = 'evaluationsPerSecond';
      return Math.ceil(evaluationLack / evaluationRate);
    }
    return 0;
  }

  #payRequest(account: number): void {
    if (this.#cell(account, REQUEST_RATE) > 0) this.#add(account, REQUEST_TOKENS, -THOUSAND);
  }

  #refill(account: number): void {
    const { nowMs } = this.#clock;
    const elapsedMs = nowMs - this.#cell(account, REFILLED_AT);
    if (elapsedMs <= 0) return;
    this.#set(account, REFILLED_AT, nowMs);
    this.#fill(account, REQUEST_TOKENS, this.#cell(account, REQUEST_RATE), elapsedMs);
    this.#fill(account, EVALUATION_TOKENS, this.#cell(account, EVALUATION_RATE), elapsedMs);
  }

  #fill(account: number, tokens: number, rate: number, elapsedMs: number): void {
    // A product too large to be exact is far above the cap.
    this.#set(account, tokens, Math.min(rate * THOUSAND, this.#cell(account, tokens) + elapsedMs * rate));
  }

  #limit(
    account: number,
    { requestsPerSecond = 0, evaluationsPerSecond = 0, connections = 0 }: CredentialQuotas,
  ): void {
    this.#refill(account);
    this.#changeRate(account, REQUEST_RATE, REQUEST_TOKENS, requestsPerSecond);
    this.#changeRate(account, EVALUATION_RATE, EVALUATION_TOKENS, evaluationsPerSecond);
    this.#set(account, CONNECTION_MAX, connections);
    this.#set(account, LIMITED, requestsPerSecond + evaluationsPerSecond + connections > 0 ? 1 : 0);
  }

  /** A bucket that had no limit starts full; one that had keeps what it has, up to its new size. */
  #changeRate(account: number, rate: number, tokens: number, next: number): void {
    const isNew = this.#cell(account, rate) === 0;
    this.#set(account, rate, next);
    this.#set(account, tokens, isNew ? next * THOUSAND : Math.min(this.#cell(account, tokens), next * THOUSAND));
  }

  #open(key: string): number {
    const account = this.#free.pop() ?? this.#accountCount++;
    if (account * CELLS >= this.#cells.length) {
      const cells = new Float64Array(this.#cells.length * 2);
      cells.set(this.#cells);
      this.#cells = cells;
    }
    this.#cells.fill(0, account * CELLS, (account + 1) * CELLS);
    this.#set(account, REFILLED_AT, this.#clock.nowMs);
    this.#accounts.set(key, account);
    this.#idOf.set(account, key);
    return account;
  }

  #freeIfUnused(account: number): void {
    if (account === NODE_ACCOUNT) return;
    if (this.#cell(account, OWNERS) + this.#cell(account, BUSY) + this.#cell(account, POOLED) > 0) return;
    const key = this.#idOf.get(account);
    assert(key !== undefined, 'an account is freed once');
    this.#accounts.delete(key);
    this.#idOf.delete(account);
    this.#free.push(account);
  }

  #cell(account: number, cell: number): number {
    return this.#cells[account * CELLS + cell] ?? 0;
  }

  #set(account: number, cell: number, value: number): void {
    this.#cells[account * CELLS + cell] = value;
  }

  #add(account: number, cell: number, value: number): number {
    const sum = this.#cell(account, cell) + value;
    this.#cells[account * CELLS + cell] = sum;
    return sum;
  }
}
