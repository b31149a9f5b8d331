import { createSocket, type Socket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import type { AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { AddressRules } from '@guidon/control-plane/webhooks/address-rules.js';
import { ADDRESSES_MAX, createGuardedAgent, resolveAll } from '@guidon/control-plane/webhooks/guarded-agent.js';
import { sendRequest } from '@guidon/control-plane/webhooks/send-request.js';
import { parseWebhookUrl } from '@guidon/control-plane/webhooks/webhook-url.js';
import { PlatformError } from '@guidon/protocol';
import type { Agent } from 'undici';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebhookReceiver } from '../support/webhook-receiver.js';

/** 2.5 of the threat model (OWASP API7): whatever a tenant gives as a URL, nothing of ours is called. G17. */

/** Hosts that are, or are made to look as if they were not, addresses that nobody outside may reach. */
const PRIVATE_HOSTS: readonly string[] = `
  127.0.0.1 127.1 127.0.1 127.255.255.254 0.0.0.0 0 0.0.0.1 localhost LOCALHOST
  0x7f.1 0x7f000001 0x7f.0x0.0x0.0x1 0177.0.0.1 0177.1 017700000001 2130706433 127.0.0.0x1
  10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 192.168.255.255
  169.254.169.254 169.254.0.1 0xa9.0xfe.0xa9.0xfe 0xa9fea9fe 2852039166 0251.0376.0251.0376
  100.64.0.1 100.127.255.255 198.18.0.1 198.19.255.255 192.0.0.1 192.0.2.1 192.88.99.1
  198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
  [::1] [::] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:10.0.0.1]
  [::ffff:169.254.169.254] [::127.0.0.1] [::ffff:0:127.0.0.1] [64:ff9b::a9fe:a9fe] [64:ff9b::7f00:1]
  [64:ff9b:1::7f00:1] [2002:7f00:1::] [2002:a9fe:a9fe::] [2002:0a00:0001::1] [2001::1]
  [2001:0:7f00:1::] [2001:10::1] [2001:db8::1] [fe80::1] [febf::1] [fec0::1] [fc00::1]
  [fd00::1] [fd12:3456:789a::1] [ff02::1] [ff0e::1] [100::1] [3fff::1] [5f00::1]
  127.0.0.1. [2001:2::1] [2001:20::1] [::ffff:c0a8:1] [::ffff:0.0.0.0] 192.168.1
  ①②⑦.⓪.⓪.① 127。0。0。1 １２７.0.0.1 %31%32%37.0.0.1 loopback.test mixed.test
`
  .trim()
  .split(/\s+/);

let canary: WebhookReceiver;
let neighbour: WebhookReceiver;
let agent: Agent;
let names: NameServer;

beforeAll(async () => {
  canary = await WebhookReceiver.start();
  neighbour = await WebhookReceiver.start();
  names = await NameServer.start();
  agent = createGuardedAgent(new AddressRules(), names.resolve);
});
afterAll(async () => {
  await agent.destroy();
  await names.stop();
  await canary.stop();
  await neighbour.stop();
});

const attempt = (url: string, using = agent) =>
  sendRequest(using, { method: 'POST', url, headers: {}, body: '{}' }, { deadlineMs: 10_000 });

test('at least 80 hosts that must not be reached are refused before anything is sent', async () => {
  const urls = PRIVATE_HOSTS.flatMap((host) => [`https://${host}/`, `http://${host}:${canary.port}/`]);
  expect(PRIVATE_HOSTS.length).toBeGreaterThanOrEqual(80);
  for (const url of urls) {
    const { outcome } = URL.canParse(url) ? await attempt(url) : { outcome: 'blocked-address' };
    expect([url, outcome]).toEqual([url, 'blocked-address']);
  }
  expect([canary.received, canary.connectionCount]).toEqual([[], 0]);
});

test('nor are they taken as URLs of an endpoint, wherever the address stands in the URL itself', () => {
  const rules = new AddressRules();
  const named = ['loopback.test', 'mixed.test'];
  for (const host of PRIVATE_HOSTS.filter((host) => !named.includes(host))) {
    expect(() => parseWebhookUrl(`https://${host}/`, rules), host).toThrow(PlatformError);
  }
});

test.each([
  ['http://example.com/', 'use https'],
  ['file:///etc/passwd', 'use https'],
  ['gopher://example.com/', 'use https'],
  ['https://user@example.com/', 'a URL holds no name and password'],
  ['https://example.com./', 'the host must not end with a dot'],
  ['https://example.com:22/', 'use port 443 or 8443'],
  ['https://example.com:25/', 'use port 443 or 8443'],
  ['https://example.com:6379/', 'use port 443 or 8443'],
  ['https://example.com:4222/', 'use port 443 or 8443'],
  ['https://exаmple.com/', 'write the URL in ASCII, without spaces and backslashes'],
  ['https://example.com\\@127.0.0.1/', 'write the URL in ASCII, without spaces and backslashes'],
  ['https://example.com/\r\nx: y', 'write the URL in ASCII, without spaces and backslashes'],
  ['https://example.com/#x', 'a URL that is called has no fragment'],
  [`https://example.com/${'x'.repeat(2_048)}`, 'a URL has at most 2048 characters'],
])('parseWebhookUrl() refuses %s', (url, detail) => {
  expect(() => parseWebhookUrl(url, new AddressRules())).toThrow(
    expect.objectContaining({ code: 'bad-webhook-url', message: detail }),
  );
});

test('parseWebhookUrl() takes what is public', () => {
  const rules = new AddressRules();
  for (const url of ['https://example.com/x?y=1', 'https://93.184.216.34/', 'https://[2606:4700::1111]:8443/']) {
    expect(parseWebhookUrl(url, rules).href).toBe(url);
  }
});

test('an address of this machine is refused though it may be public, unless the operator allows it', () => {
  const own = Object.values(networkInterfaces()).flatMap((all) => all?.map(({ address }) => address) ?? []);
  expect(own.length).toBeGreaterThan(0);
  for (const address of own) {
    expect([address, new AddressRules().judge(address)]).toEqual([address, 'refused']);
    expect([address, new AddressRules([address]).judge(address)]).toEqual([address, 'allowed']);
  }
  for (const address of ['93.184.216.34', '2606:4700::1111']) {
    expect(new AddressRules().judge(address)).toBe('public');
    expect(new AddressRules([], () => [address]).judge(address)).toBe('refused');
  }
});

describe('what the operator has allowed', () => {
  test('is called, by name and by address; nothing beside it', async () => {
    const rules = new AddressRules(['127.0.0.1/32']);
    const allowing = createGuardedAgent(rules, names.resolve);
    const { port } = neighbour;
    expect((await attempt(`http://127.0.0.1:${port}/`, allowing)).outcome).toBe('delivered');
    expect((await attempt(`http://loopback.test:${port}/`, allowing)).outcome).toBe('delivered');
    expect((await attempt(`http://127.0.0.2:${port}/`, allowing)).outcome).toBe('blocked-address');
    expect((await attempt(`http://mixed.test:${port}/`, allowing)).outcome).toBe('blocked-address');
    // Public, but by plain HTTP.
    expect((await attempt(`http://public.test:${port}/`, allowing)).outcome).toBe('blocked-address');
    expect(neighbour.received).toHaveLength(2);
    await allowing.destroy();
  });
});

describe('names that change', () => {
  test('a name that is public when it is looked at and private when it is connected to is refused (DNS rebinding)', async () => {
    expect(await names.resolve('rebinding.test')).toEqual(['93.184.216.34']);
    const outcomes = [];
    for (let index = 0; index < 4; index += 1) {
      outcomes.push((await attempt(`https://rebinding.test:${canary.port}/`)).outcome);
    }
    expect(new Set(outcomes)).toEqual(new Set(['blocked-address']));
    expect(canary.connectionCount).toBe(0);
  });

  test('a name that resolves to nothing, or to an error, is not connected to', async () => {
    for (const name of ['nothing.test', 'servfail.test']) {
      const { outcome, detail } = await attempt(`https://${name}/`);
      expect([name, outcome]).toEqual([name, 'connection-failed']);
      expect(detail).toMatch(/^E[A-Z]+$/);
    }
  });

  test(`of more than ${ADDRESSES_MAX} addresses is not connected to, and this machine is asked for its own once`, async () => {
    let askedCount = 0;
    let addresses: string[] = [];
    const rules = new AddressRules([], () => {
      askedCount += 1;
      return [];
    });
    const agentOfMany = createGuardedAgent(rules, async () => addresses);
    const publicOnes = Array.from({ length: ADDRESSES_MAX }, (_, index) => `93.184.216.${index}`);
    addresses = [...publicOnes, '93.184.217.1'];
    const tooMany = await attempt('https://many.test/', agentOfMany);
    expect([tooMany.outcome, tooMany.detail, askedCount]).toEqual(['connection-failed', 'EADDRESSES', 0]);
    addresses = [...publicOnes.slice(1), '127.0.0.1'];
    expect((await attempt('https://many.test/', agentOfMany)).outcome).toBe('blocked-address');
    expect(askedCount).toBe(1);
    await agentOfMany.destroy();
  });

  test('the decision is about the very address that the socket gets: the name is asked for once per connection', async () => {
    const before = names.queryCount('loopback.test');
    await attempt('https://loopback.test/');
    // Both families, once.
    expect(names.queryCount('loopback.test') - before).toBe(2);
  });
});

/** A DNS server on loopback: A records by name, TTL 0; `rebinding.test` is public the first time and private ever after. */
class NameServer {
  readonly resolve: (hostname: string) => Promise<readonly string[]>;
  readonly #socket: Socket;
  readonly #queries = new Map<string, number>();

  static async start(): Promise<NameServer> {
    const socket = createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    return new NameServer(socket);
  }

  private constructor(socket: Socket) {
    this.#socket = socket;
    const resolver = new Resolver({ timeout: 2_000, tries: 1 });
    resolver.setServers([`127.0.0.1:${(socket.address() as AddressInfo).port}`]);
    this.resolve = (hostname) => resolveAll(resolver, hostname);
    socket.on('message', (query, { port, address }) => socket.send(this.#answer(query), port, address));
  }

  queryCount(name: string): number {
    return this.#queries.get(name) ?? 0;
  }

  stop(): Promise<void> {
    return new Promise((resolve) => this.#socket.close(() => resolve()));
  }

  #addressesOf(name: string): readonly string[] | undefined {
    const isFirst = this.#queries.get(name) === 1;
    if (name === 'rebinding.test') return [isFirst ? '93.184.216.34' : '127.0.0.1'];
    if (name === 'mixed.test') return ['93.184.216.34', '127.0.0.1'];
    if (name === 'public.test') return ['93.184.216.34'];
    return /^(loopback\.test|localhost)$/i.test(name) ? ['127.0.0.1'] : undefined;
  }

  #answer(query: Buffer): Buffer {
    const labels: string[] = [];
    let offset = 12;
    for (let length = query[offset] ?? 0; length > 0; length = query[offset] ?? 0) {
      labels.push(query.toString('latin1', offset + 1, offset + 1 + length));
      offset += length + 1;
    }
    const name = labels.join('.');
    const type = query.readUInt16BE(offset + 1);
    const isA = type === 1;
    if (isA || name !== 'rebinding.test') this.#queries.set(name, (this.#queries.get(name) ?? 0) + 1);
    const addresses = this.#addressesOf(name);
    const records = isA ? (addresses ?? []) : [];
    const header = Buffer.alloc(12);
    query.copy(header, 0, 0, 2);
    header.writeUInt16BE(0x8180 | (name === 'servfail.test' ? 2 : addresses === undefined ? 3 : 0), 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(records.length, 6);
    const answers = records.map((address) =>
      Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...address.split('.').map(Number)]),
    );
    return Buffer.concat([header, query.subarray(12, offset + 5), ...answers]);
  }
}
