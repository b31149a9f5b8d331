import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Seed, TestControlPlane } from '../support/control-plane.js';

interface Behind {
  readonly plane: TestControlPlane;
  readonly seed: Seed;
}

async function start(trustedProxies: string[]): Promise<Behind> {
  const plane = await TestControlPlane.start({ trustedProxies });
  return { plane, seed: await plane.seed() };
}

let trusting: Behind;
let strangers: Behind;
let alone: Behind;
beforeAll(async () => {
  trusting = await start(['127.0.0.0/8', '10.0.0.0/8']);
  strangers = await start(['10.0.0.0/8', '::1']);
  alone = await start([]);
});
afterAll(async () => {
  for (const { plane } of [trusting, strangers, alone]) await plane.dispose();
});

let count = 0;

/** What the audit log says of where a write came from that was sent with this header. */
async function addressInAudit({ plane, seed }: Behind, forwardedFor: string | string[]): Promise<string> {
  count += 1;
  await plane.must('POST', `${seed.tenant}/projects`, {
    token: seed.token,
    body: { key: `p${count}`, name: 'forwarded' },
    headers: { 'x-forwarded-for': forwardedFor, 'x-forwarded-proto': 'https', 'x-forwarded-host': 'evil.test' },
  });
  const { body } = await plane.must('GET', `${seed.tenant}/audit?action=project.create&limit=1`);
  return body.items[0].from.address;
}

describe('X-Forwarded-For', () => {
  test('counts from a trusted proxy', async () => {
    expect(await addressInAudit(trusting, '203.0.113.7')).toBe('203.0.113.7');
    expect(await addressInAudit(trusting, '::ffff:203.0.113.7')).toBe('203.0.113.7');
    expect(await addressInAudit(trusting, '2001:db8::7')).toBe('2001:db8::7');
  });

  test('counts for nothing without one, or from somebody else', async () => {
    expect(await addressInAudit(alone, '203.0.113.7')).toBe('127.0.0.1');
    expect(await addressInAudit(strangers, '203.0.113.7')).toBe('127.0.0.1');
  });

  test('what a client wrote before the address that the proxy saw is not believed', async () => {
    expect(await addressInAudit(trusting, '198.51.100.9, 203.0.113.7')).toBe('203.0.113.7');
    expect(await addressInAudit(trusting, ['10.0.0.1', '203.0.113.7'])).toBe('203.0.113.7');
  });

  test('a chain of trusted proxies leads to the client', async () => {
    expect(await addressInAudit(trusting, '198.51.100.9, 203.0.113.7, 10.2.3.4')).toBe('203.0.113.7');
  });

  test('ports behind addresses are no part of them, of the client and of proxies between', async () => {
    expect(await addressInAudit(trusting, '203.0.113.7:1234')).toBe('203.0.113.7');
    expect(await addressInAudit(trusting, '[2001:db8::7]:1234')).toBe('2001:db8::7');
    expect(await addressInAudit(trusting, '[2001:db8::7]')).toBe('2001:db8::7');
    expect(await addressInAudit(trusting, '198.51.100.9, 203.0.113.7:1234, 10.2.3.4:555')).toBe('203.0.113.7');
    expect(await addressInAudit(strangers, '203.0.113.7:1234')).toBe('127.0.0.1');
  });

  test.each(['<script>', '203.0.113.7:123456', '[203.0.113.7', 'unknown', '1.2.3', 'a'.repeat(50)])(
    '%s is no address',
    async (text) => {
      expect(await addressInAudit(trusting, text)).toBe('127.0.0.1');
    },
  );
});

test('refused logins from one IPv6 network fill no audit log, whatever addresses of it they come from', async () => {
  const { plane } = trusting;
  for (let index = 1; index <= 30; index += 1) {
    const { status } = await plane.call('POST', '/api/v1/login', {
      token: null,
      body: { email: `nobody-${index}@example.com`, password: 'x' },
      headers: { 'x-forwarded-for': `2001:db8:1:2::${index.toString(16)}`, 'x-forwarded-proto': 'https' },
    });
    expect(status).toBe(401);
  }
  // One from elsewhere comes behind them in the log.
  await plane.call('POST', '/api/v1/login', {
    token: null,
    body: { email: 'nobody@example.com', password: 'x' },
    headers: { 'x-forwarded-for': '203.0.113.9', 'x-forwarded-proto': 'https' },
  });
  const refused = async (): Promise<{ from: { address: string } }[]> =>
    (await plane.must('GET', '/api/v1/audit?limit=100&action=session.refused')).body.items;
  await expect.poll(async () => (await refused())[0]?.from.address, { timeout: 10_000 }).toBe('203.0.113.9');
  expect((await refused()).length).toBe(21);
});
