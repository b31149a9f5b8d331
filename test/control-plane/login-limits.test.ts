import { PasswordHasher } from '@guidon/control-plane/people/password-hasher.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ADA, Browser, setUpAda } from '../support/browser.js';
import { type Answer, TestControlPlane } from '../support/control-plane.js';

let plane: TestControlPlane;
let tick = 0;

beforeAll(async () => {
  plane = await TestControlPlane.start({ monotonicNow: () => tick });
  await setUpAda(plane);
});
afterAll(() => plane.dispose());

const login = (email: string, password: string): Promise<Answer> => new Browser(plane).login(email, password);
const brief = ({ status, body }: Answer) => [status, body?.code];

describe('trying passwords (2.1)', () => {
  test('ends after 10 of an account, with the right password too, until 15 minutes have passed', async () => {
    for (let count = 0; count < 10; count += 1) expect((await login(ADA.email, `guess ${count}`)).status).toBe(401);
    const refused = await login(ADA.email, ADA.password);
    expect(brief(refused)).toEqual([429, 'rate-limited']);
    expect(Number(refused.headers['retry-after'])).toBe(900);
    expect((await login(' ada@EXAMPLE.com', ADA.password)).status).toBe(429);
    tick += 15 * 60_000;
    expect((await login(ADA.email, ADA.password)).status).toBe(200);
  });

  test('ends alike for an account that is not there', async () => {
    for (let count = 0; count < 10; count += 1) expect((await login('no@example.com', 'x')).status).toBe(401);
    expect(brief(await login('no@example.com', 'x'))).toEqual([429, 'rate-limited']);
  });

  test('begins anew after a success', async () => {
    for (let round = 0; round < 2; round += 1) {
      for (let count = 0; count < 9; count += 1) expect((await login(ADA.email, 'guess')).status).toBe(401);
      expect((await login(ADA.email, ADA.password)).status).toBe(200);
    }
  });

  test('of many accounts from one address ends after 100', async () => {
    tick += 15 * 60_000;
    for (let count = 0; count < 100; count += 1) {
      expect([count, (await login(`user-${count}@example.com`, 'x')).status]).toEqual([count, 401]);
    }
    expect(brief(await login(ADA.email, ADA.password))).toEqual([429, 'rate-limited']);
    tick += 15 * 60_000;
    expect((await login(ADA.email, ADA.password)).status).toBe(200);
  });

  test('side by side passes no more, and more than 9 at a time are 503', async () => {
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, index) => login(`storm-${index}@example.com`, 'x')),
    );
    const statuses = answers.map(({ status }) => status);
    expect(new Set(statuses)).toEqual(new Set([401, 503]));
    expect(answers.find(({ status }) => status === 503)?.headers['retry-after']).toBe('1');
    const ofOne = await Promise.all(Array.from({ length: 16 }, () => login('race@example.com', 'x')));
    expect(ofOne.filter(({ status }) => status === 401).length).toBeLessThanOrEqual(10);
    expect((await login(ADA.email, ADA.password)).status).toBe(200);
  });
});

describe('PasswordHasher', () => {
  test('runs one at a time and refuses what more than 8 would wait for', async () => {
    const hasher = new PasswordHasher();
    const results = await Promise.allSettled(Array.from({ length: 12 }, () => hasher.verify(undefined, 'x')));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(9);
    for (const result of results.filter(({ status }) => status === 'rejected')) {
      expect(result).toMatchObject({ reason: { code: 'overloaded' } });
    }
    expect(await hasher.verify(await hasher.hash('pässword'), 'pa\u0308ssword')).toBe(true);
  });

  test('works as long for nobody’s password as for somebody’s', async () => {
    const hasher = new PasswordHasher();
    const real = await hasher.hash('somebody');
    const fastest = async (hash: string | undefined): Promise<number> => {
      let best = Number.POSITIVE_INFINITY;
      for (let round = 0; round < 7; round += 1) {
        const from = performance.now();
        await hasher.verify(hash, 'wrong');
        best = Math.min(best, performance.now() - from);
      }
      return best;
    };
    // The work is the same by construction; this would show a missing hash being answered at once.
    expect((await fastest(undefined)) / (await fastest(real))).toBeGreaterThan(0.5);
  });
});
