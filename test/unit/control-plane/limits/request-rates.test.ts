import { RequestRates } from '@guidon/control-plane/limits/request-rates.js';
import { PlatformError, parseTenantId } from '@guidon/protocol';
import { describe, expect, test } from 'vitest';

const TENANT = parseTenantId('ten_a');
const OTHER = parseTenantId('ten_b');

/** Every tenant may make `limit.perSecond` requests. */
function ratesAt(clock: { ms: number }, limit: { perSecond: number | undefined }): RequestRates {
  const quotas = () => (limit.perSecond === undefined ? undefined : { adminRequestsPerSecond: limit.perSecond });
  return new RequestRates(quotas, () => clock.ms);
}

function admittedOf(rates: RequestRates, count: number, tenant = TENANT): number {
  let admitted = 0;
  for (let index = 0; index < count; index += 1) {
    try {
      rates.admit(tenant);
      admitted += 1;
    } catch (error) {
      expect(error).toBeInstanceOf(PlatformError);
    }
  }
  return admitted;
}

describe('RequestRates', () => {
  test('a second’s worth at once, then as it is earned, each tenant its own', () => {
    const clock = { ms: 0 };
    const rates = ratesAt(clock, { perSecond: 10 });
    expect(admittedOf(rates, 50)).toBe(10);
    expect(admittedOf(rates, 50, OTHER)).toBe(10);
    clock.ms = 300;
    expect(admittedOf(rates, 50)).toBe(3);
    clock.ms = 60_000;
    expect(admittedOf(rates, 50)).toBe(10);
  });

  test('a limit that is set while requests come starts with a full bucket; none is no limit', () => {
    const clock = { ms: 0 };
    const limit: { perSecond: number | undefined } = { perSecond: undefined };
    const rates = ratesAt(clock, limit);
    expect(admittedOf(rates, 1_000)).toBe(1_000);
    limit.perSecond = 5;
    expect(admittedOf(rates, 50)).toBe(5);
  });

  test('says how many came in the last second, and when to come back', () => {
    const clock = { ms: 0 };
    const rates = ratesAt(clock, { perSecond: 2 });
    admittedOf(rates, 7);
    expect(rates.lastSecond(TENANT)).toBe(7);
    clock.ms = 1_500;
    expect(rates.lastSecond(TENANT)).toBe(7);
    clock.ms = 5_000;
    expect(rates.lastSecond(TENANT)).toBe(0);
    admittedOf(rates, 2);
    expect(() => rates.admit(TENANT)).toThrow(
      expect.objectContaining({ code: 'rate-limited', extensions: expect.objectContaining({ retryAfterSeconds: 1 }) }),
    );
  });

  test('10 001 tenants push the one out that asked longest ago', () => {
    const rates = ratesAt({ ms: 0 }, { perSecond: 1 });
    for (let index = 0; index <= 10_000; index += 1) rates.admit(parseTenantId(`ten_${index}`));
    expect(rates.lastSecond(parseTenantId('ten_0'))).toBe(0);
    expect(rates.lastSecond(parseTenantId('ten_1'))).toBe(1);
  });
});
