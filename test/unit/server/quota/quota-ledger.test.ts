import type { TenantQuotas } from '@guidon/protocol/signed-config';
import { defaultNodeQuotas, parseNodeQuotas } from '@guidon/server/quota/node-quotas.js';
import { NODE_ACCOUNT, QuotaLedger, REFUSALS_PER_SECOND_MAX } from '@guidon/server/quota/quota-ledger.js';
import { beforeEach, describe, expect, it } from 'vitest';

const clock = { nowMs: 0 };
let ledger: QuotaLedger;

beforeEach(() => {
  clock.nowMs = 5_000;
  ledger = new QuotaLedger(defaultNodeQuotas(), clock);
});

function accountsOf(tenant: TenantQuotas, credential: TenantQuotas = {}) {
  const accounts = {
    tenantAccount: ledger.acquire('tenant', 't'),
    credentialAccount: ledger.acquire('credential', `c${ledger.accountCount}`),
  };
  ledger.limitTenant(accounts.tenantAccount, tenant, 1);
  ledger.limitCredential(accounts.credentialAccount, credential);
  return accounts;
}

/** How many requests pass before one does not. */
function passing(accounts: Parameters<QuotaLedger['enter']>[0], max = 10_000): number {
  for (let count = 0; count < max; count += 1) {
    if (ledger.enter(accounts) > 0) return count;
    ledger.leave(accounts);
  }
  return max;
}

describe('QuotaLedger', () => {
  it('enter() lets everything pass that nobody limited', () => {
    expect(passing(accountsOf({}))).toBe(10_000);
  });

  it('enter() grants one second of requests at once and exactly the rate from then on', () => {
    const accounts = accountsOf({ requestsPerSecond: 7 });
    expect(passing(accounts)).toBe(7);
    let granted = 0;
    // 7 a second does not divide 1 000 ms: exact sums lose nothing over a hundred seconds of odd steps.
    for (let step = 0; step < 1_000; step += 1) {
      clock.nowMs += step % 2 === 0 ? 93 : 107;
      granted += passing(accounts);
    }
    expect(granted).toBe(700);
  });

  it('enter() keeps no more than one second of tokens however long nobody asks', () => {
    const accounts = accountsOf({ requestsPerSecond: 5 });
    clock.nowMs += 1e12;
    expect(passing(accounts)).toBe(5);
  });

  it.each([
    [{ requestsPerSecond: 1 }, 1, 1],
    [{ requestsPerSecond: 1_000_000_000 }, 1, 1],
    [{ connections: 1 }, 1, 1],
  ])('enter() says whole seconds to wait: %o', (quotas, first, seconds) => {
    const accounts = accountsOf(quotas);
    let entered = 0;
    while (ledger.enter(accounts) === 0 && entered < 1_000_001) entered += 1;
    expect(entered).toBeGreaterThanOrEqual(first);
    if (entered < 1_000_001) expect(ledger.enter(accounts)).toBe(seconds);
  });

  it('enter() asks the tenant and the credential before either pays', () => {
    const accounts = accountsOf({ requestsPerSecond: 10 }, { requestsPerSecond: 3 });
    expect(passing(accounts)).toBe(3);
    expect(ledger.lastRefusal).toEqual({ scope: 'credential', name: 'requestsPerSecond' });
    const other = accountsOf({ requestsPerSecond: 10 });
    // The refused request of the first credential cost the tenant nothing.
    expect(passing(other)).toBe(7);
    expect(ledger.lastRefusal).toEqual({ scope: 'tenant', name: 'requestsPerSecond' });
    expect(ledger.refusals.requestsPerSecond).toBe(2);
  });

  it('charge() lets a batch larger than the limit pass and refuses until it is earned back', () => {
    const accounts = accountsOf({ evaluationsPerSecond: 100 });
    expect(ledger.enter(accounts)).toBe(0);
    ledger.charge(accounts, 10_000);
    ledger.leave(accounts);
    expect(ledger.enter(accounts)).toBe(60);
    expect(ledger.lastRefusal).toEqual({ scope: 'tenant', name: 'evaluationsPerSecond' });
    clock.nowMs += 98_000;
    expect(ledger.enter(accounts)).toBe(2);
    clock.nowMs += 1_000;
    expect(ledger.enter(accounts)).toBe(1);
    clock.nowMs += 1;
    expect(ledger.enter(accounts)).toBe(0);
  });

  it('charge() holds the mean rate over many seconds whatever the size of requests', () => {
    const accounts = accountsOf({ evaluationsPerSecond: 1_000 });
    let evaluations = 0;
    for (let ms = 0; ms < 100_000; ms += 10) {
      if (ledger.enter(accounts) === 0) {
        ledger.charge(accounts, 700);
        ledger.leave(accounts);
        evaluations += 700;
      }
      clock.nowMs += 10;
    }
    expect(evaluations).toBeGreaterThanOrEqual(100_000);
    expect(evaluations).toBeLessThanOrEqual(100_000 + 1_000 + 700);
  });

  it('enter() and leave() count connections in progress of both accounts', () => {
    const first = accountsOf({ connections: 2 }, { connections: 1 });
    const second = accountsOf({ connections: 2 });
    expect(ledger.enter(first)).toBe(0);
    expect(ledger.enter(first)).toBe(1);
    expect(ledger.lastRefusal).toEqual({ scope: 'credential', name: 'connections' });
    expect(ledger.enter(second)).toBe(0);
    expect(ledger.enter(second)).toBe(1);
    expect(ledger.lastRefusal).toEqual({ scope: 'tenant', name: 'connections' });
    ledger.leave(first);
    expect(ledger.enter(second)).toBe(0);
    expect(ledger.busyOf(first.tenantAccount)).toBe(2);
    expect(ledger.busyOf(first.credentialAccount)).toBe(0);
  });

  it('limitTenant() believes the list issued last, in whatever order lists come', () => {
    const { tenantAccount, credentialAccount } = accountsOf({});
    ledger.limitTenant(tenantAccount, { requestsPerSecond: 2, snapshotBytes: 5, poolSlots: 6 }, 20);
    ledger.limitTenant(tenantAccount, { requestsPerSecond: 50 }, 10);
    expect(passing({ tenantAccount, credentialAccount })).toBe(2);
    expect(ledger.snapshotBytesMaxOf('t')).toBe(5);
    ledger.limitTenant(tenantAccount, {}, 21);
    expect(passing({ tenantAccount, credentialAccount })).toBe(10_000);
    expect([ledger.snapshotBytesMaxOf('t'), ledger.snapshotBytesMaxOf('nobody')]).toEqual([undefined, undefined]);
  });

  it('enterPool() lets a tenant have so many requests in the pool, and an account lives until the last has left', () => {
    const { tenantAccount, credentialAccount } = accountsOf({ poolSlots: 2 });
    const other = ledger.acquire('tenant', 'other');
    expect([1, 2, 3].map(() => ledger.enterPool(tenantAccount))).toEqual([true, true, false]);
    expect(ledger.refusals.poolSlots).toBe(1);
    expect([1, 2, 3].map(() => ledger.enterPool(other))).toEqual([true, true, true]);
    ledger.leavePool(tenantAccount);
    expect(ledger.enterPool(tenantAccount)).toBe(true);
    ledger.release(tenantAccount);
    ledger.release(credentialAccount);
    const count = ledger.accountCount;
    ledger.leavePool(tenantAccount);
    expect(ledger.accountCount).toBe(count);
    ledger.leavePool(tenantAccount);
    expect(ledger.accountCount).toBe(count - 1);
  });

  it('a lower limit cuts what a bucket holds, a higher one fills it no faster than it is earned', () => {
    const accounts = accountsOf({}, { requestsPerSecond: 10 });
    ledger.limitCredential(accounts.credentialAccount, { requestsPerSecond: 4 });
    expect(passing(accounts)).toBe(4);
    ledger.limitCredential(accounts.credentialAccount, { requestsPerSecond: 100 });
    expect(passing(accounts)).toBe(0);
    clock.nowMs += 500;
    expect(passing(accounts)).toBe(50);
  });

  it('acquire() keeps what is in an account while any list names it, and forgets it after the last and the last request', () => {
    const accounts = accountsOf({}, { requestsPerSecond: 3 });
    expect(passing(accounts)).toBe(3);
    const id = 'c1';
    expect(ledger.acquire('credential', id)).toBe(accounts.credentialAccount);
    ledger.release(accounts.credentialAccount);
    expect(passing(accounts)).toBe(0);
    clock.nowMs += 1_000;
    expect(ledger.enter(accounts)).toBe(0);
    ledger.release(accounts.credentialAccount);
    // Its row may not go to somebody else while the request runs.
    expect(ledger.acquire('credential', 'other')).not.toBe(accounts.credentialAccount);
    ledger.leave(accounts);
    expect(ledger.acquire('credential', 'third')).toBe(accounts.credentialAccount);
    expect(passing({ ...accounts, credentialAccount: accounts.credentialAccount })).toBe(10_000);
  });

  it('acquire() gives everybody beyond the bound one account, which still limits (I25)', () => {
    ledger = new QuotaLedger({ ...defaultNodeQuotas(), credential: { requestsPerSecond: 2 } }, clock, 6);
    const own = ['a', 'b', 'c'].map((id) => ledger.acquire('credential', id));
    const shared = ['d', 'e'].map((id) => ledger.acquire('credential', id));
    expect(new Set(own).size).toBe(3);
    expect(shared[0]).toBe(shared[1]);
    expect(own).not.toContain(shared[0]);
    const tenantAccount = ledger.acquire('tenant', 'late');
    expect([...own, ...shared, NODE_ACCOUNT]).not.toContain(tenantAccount);
    for (const account of shared) ledger.limitCredential(account, {});
    expect(passing({ tenantAccount, credentialAccount: shared[0] ?? 0 })).toBe(2);
    // The ones that have an account are found again.
    expect(ledger.acquire('credential', 'b')).toBe(own[1]);
  });

  it('the table grows and keeps every account', () => {
    const accounts = Array.from({ length: 2_000 }, (_, index) => {
      const account = ledger.acquire('credential', `many-${index}`);
      ledger.limitCredential(account, { connections: index + 1 });
      return account;
    });
    expect(new Set(accounts).size).toBe(2_000);
    const tenantAccount = ledger.acquire('tenant', 'x');
    const credentialAccount = accounts[2] ?? 0;
    const seconds = [1, 2, 3, 4].map(() => ledger.enter({ tenantAccount, credentialAccount }));
    expect(seconds).toEqual([0, 0, 0, 1]);
  });

  it('countRefusal() closes from the hundredth refusal of a second on, and starts anew with the next second', () => {
    const { credentialAccount } = accountsOf({});
    const closes = Array.from({ length: REFUSALS_PER_SECOND_MAX + 1 }, () => ledger.countRefusal(credentialAccount));
    expect(closes.filter(Boolean).length).toBe(2);
    expect(closes.indexOf(true)).toBe(REFUSALS_PER_SECOND_MAX - 1);
    clock.nowMs += 1_000;
    expect(ledger.countRefusal(credentialAccount)).toBe(false);
  });

  it('canHold() bounds the bytes of a tenant and of all together; only the last answer may pass the bound', () => {
    const quotas = { ...defaultNodeQuotas(), node: { connections: 1, heldBytes: 100, tenantHeldBytes: 60 } };
    ledger = new QuotaLedger(quotas, clock);
    const [a, b] = [ledger.acquire('tenant', 'a'), ledger.acquire('tenant', 'b')];
    ledger.hold(a, 59);
    expect([ledger.canHold(a), ledger.canHold(b)]).toEqual([true, true]);
    ledger.hold(a, 10);
    expect([ledger.canHold(a), ledger.canHold(b), ledger.canHold(NODE_ACCOUNT)]).toEqual([false, true, true]);
    ledger.hold(b, 31);
    expect([ledger.canHold(b), ledger.canHold(NODE_ACCOUNT), ledger.heldBytes]).toEqual([false, false, 100]);
    ledger.unhold(a, 69);
    expect([ledger.canHold(a), ledger.canHold(b), ledger.heldBytes]).toEqual([true, true, 31]);
  });
});

describe('parseNodeQuotas()', () => {
  it('reads what is given and keeps the defaults for the rest', () => {
    const { node, tenant, credential } = parseNodeQuotas(
      '{"node":{"connections":50},"tenant":{"requestsPerSecond":5,"poolSlots":2},"credential":{"evaluationsPerSecond":7}}',
    );
    expect(node).toEqual({ ...defaultNodeQuotas().node, connections: 50 });
    expect([tenant, credential]).toEqual([{ requestsPerSecond: 5, poolSlots: 2 }, { evaluationsPerSecond: 7 }]);
    expect(parseNodeQuotas('{}')).toEqual(defaultNodeQuotas());
  });

  it.each([
    ['', /JSON/],
    ['[]', /object/],
    ['{"tenants":{}}', /tenants/],
    ['{"tenant":5}', /tenant/],
    ['{"tenant":null}', /tenant/],
    ['{"tenant":{"requestsPerSecond":0}}', /tenant/],
    ['{"tenant":{"requestsPerSecond":1.5}}', /tenant/],
    ['{"tenant":{"requestsPerSecond":"5"}}', /tenant/],
    ['{"tenant":{"requestsPerSecond":1000000001}}', /tenant/],
    ['{"credential":{"poolSlots":5}}', /credential/],
    ['{"node":{"connections":-1}}', /node/],
    ['{"node":{"__proto__":{"connections":1}}}', /node/],
  ])('refuses %s', (text, reason) => {
    expect(() => parseNodeQuotas(text)).toThrow(expect.objectContaining({ code: 'validation-failed' }));
    expect(() => parseNodeQuotas(text)).toThrow(reason);
  });
});
