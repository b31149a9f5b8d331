import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConfigMessage, generateSigningKey, keySetTextOf, type Signed } from '@guidon/protocol/signed-config';
import { ConfigInForce } from '@guidon/server-sdk/config-in-force.js';
import { DiskCopy } from '@guidon/server-sdk/disk-copy.js';
import { Trust } from '@guidon/server-sdk/trust.js';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { aFlag } from '../../../support/flag-sets.js';
import { type FeedEnvironment, SignedFeedServer } from '../../../support/signed-feed-server.js';

/** What reliability.md 2.4 lists, offered to the SDK's own verification: refused or ignored, and the last good one goes on (I7, I9, I12). */

let feed: SignedFeedServer;
let environment: FeedEnvironment;
let other: FeedEnvironment;
let folder: string;
let warnings: string[];

beforeEach(async () => {
  feed = new SignedFeedServer();
  environment = feed.addEnvironment('own');
  other = feed.addEnvironment('other');
  folder = mkdtempSync(join(tmpdir(), 'guidon-sdk-'));
  warnings = [];
  await environment.publish([flagOf('one'), aFlag('stays')]);
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Serves `value` to everybody. */
const flagOf = (value: string, key = 'flag') =>
  aFlag(key, {
    type: 'string',
    on: true,
    variations: [
      { key: 'on', value },
      { key: 'off', value: 'off' },
    ],
    offVariation: 'off',
    prerequisites: [],
    targets: [],
    rules: [],
    fallthrough: { variation: 'on' },
  });

function configOf(
  options: { trustRoot?: string | undefined; isKept?: boolean; environmentId?: string } = {},
): ConfigInForce {
  const warn = (message: string, error?: unknown) => void warnings.push(`${message}: ${String(error)}`);
  const trust = new Trust({
    trustRoot: 'trustRoot' in options ? options.trustRoot : feed.trustRoot,
    environmentId: options.environmentId,
    fetchKeySet: async () => keySetTextOf(feed.root.publicKey, feed.keySet()),
    warn,
  });
  const disk = options.isKept === true ? new DiskCopy(folder, 'credential') : undefined;
  return new ConfigInForce({ trust, disk, onActivated: () => undefined, warn });
}

const servedValue = (config: ConfigInForce): unknown => {
  const result = config.serving?.evaluator.evaluate('flag', { targetingKey: 'u' }, { now: 0 });
  return result?.reason === 'ERROR' ? result.errorCode : result?.value;
};

function withSigned(message: ConfigMessage, change: (signed: Signed) => Signed): ConfigMessage {
  return { ...message, signed: change(message.signed) };
}

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

describe('ConfigInForce.receive()', () => {
  test('takes the whole, then changes, then removals', async () => {
    const config = configOf();
    expect(await config.receive(environment.message(0))).toBe('activated');
    expect(servedValue(config)).toBe('one');
    const change = await environment.publish([flagOf('two')]);
    expect(await config.receive(change)).toBe('activated');
    expect(servedValue(config)).toBe('two');
    expect(config.serving?.revision).toBe(2);
    const removal = await environment.publish([], [['flag', 'flag']]);
    expect(await config.receive(removal)).toBe('activated');
    expect(servedValue(config)).toBe('FLAG_NOT_FOUND');
    expect(warnings).toEqual([]);
  });

  test('a change that does not follow, or does not give the digest, asks for the whole', async () => {
    const config = configOf();
    await config.receive(environment.message(0));
    await environment.publish([flagOf('two')]);
    const change = await environment.publish([flagOf('three')]);
    expect(await config.receive(change)).toBe('fetch-whole');
    const skipped = environment.message(1);
    const empty = { ...skipped, delta: { changed: [], removed: [] } };
    expect(await config.receive(empty)).toBe('fetch-whole');
    expect(servedValue(config)).toBe('one');
    expect(await config.receive(skipped)).toBe('activated');
    expect(servedValue(config)).toBe('three');
  });

  const FORGERIES: readonly (readonly [string, (good: ConfigMessage) => ConfigMessage | Promise<ConfigMessage>])[] = [
    ['no signature', (good) => withSigned(good, ({ document }) => ({ document, signature: new Uint8Array() }))],
    [
      'a changed signature',
      (good) => withSigned(good, (signed) => ({ ...signed, signature: flipped(signed.signature, 7) })),
    ],
    [
      'a changed manifest',
      (good) => withSigned(good, (signed) => ({ ...signed, document: flipped(signed.document, 40) })),
    ],
    [
      'garbage in place of a manifest',
      (good) => withSigned(good, (signed) => ({ ...signed, document: Buffer.from('{') })),
    ],
    ['a key of nobody', (good) => withSigned(good, () => environment.sign({}, generateSigningKey()))],
    [
      'a foreign key under the name of ours',
      (good) => withSigned(good, () => environment.sign({ keyId: feed.signingKey.keyId }, generateSigningKey())),
    ],
    ['the root key itself', (good) => withSigned(good, () => environment.sign({}, feed.root))],
    ['another environment, signed rightly', async () => other.publish([flagOf('theirs')])],
    [
      'another tenant under our environment',
      (good) => withSigned(good, () => environment.sign({ tenantId: other.ref.tenantId })),
    ],
    ['an expired manifest', (good) => withSigned(good, () => environment.sign({ expiresAt: 1 }))],
    ['a fast-forward', (good) => withSigned(good, () => environment.sign({ revision: 2 ** 52 }))],
    ['an epoch from nowhere', (good) => withSigned(good, () => environment.sign({ epoch: 1_000 }))],
    ['another schema', (good) => withSigned(good, () => environment.sign({ schema: 2 }))],
    ['definitions that are not the digest’s', (good) => ({ ...good, delta: { changed: [], removed: [] } })],
    [
      'a definition that was changed',
      (good) => ({
        ...good,
        delta: { changed: (good.delta?.changed ?? []).map((bytes) => flipped(bytes, bytes.length - 3)), removed: [] },
      }),
    ],
    ['a fork: the same revision, other content', (good) => withSigned(good, () => environment.sign({ revision: 1 }))],
  ];

  test.each(FORGERIES)('refuses %s, and goes on', async (_, forge) => {
    const config = configOf();
    await config.receive(environment.message(0));
    await environment.publish([flagOf('two')]);
    const forged = await forge(environment.message(0));
    expect(['refused', 'fetch-whole']).toContain(await config.receive(forged));
    expect(servedValue(config)).toBe('one');
    expect(config.serving?.revision).toBe(1);
    expect(config.refusedCount).toBeGreaterThan(0);
  });

  test('ignores what is older, and the same again (replay, I7)', async () => {
    const config = configOf();
    const first = environment.message(0);
    await config.receive(first);
    await config.receive(await environment.publish([flagOf('two')]));
    expect(await config.receive(first)).toBe('ignored');
    expect(await config.receive(environment.message(0))).toBe('ignored');
    expect(servedValue(config)).toBe('two');
  });

  test('an epoch may rise, and then the revision may be lower (restore)', async () => {
    const config = configOf();
    await environment.publish([flagOf('two')]);
    await config.receive(environment.message(0));
    environment.epoch = 2;
    environment.revision = 0;
    await environment.publish([flagOf('restored')]);
    expect(await config.receive(environment.message(0))).toBe('activated');
    expect(servedValue(config)).toBe('restored');
  });

  test('keys rotate: what the next key signs is taken, what the revoked one signs is not', async () => {
    const config = configOf();
    await config.receive(environment.message(0));
    const old = feed.signingKey;
    feed.rotateSigningKey();
    // It asks for the key set at most every 5 s; the first time was just now.
    await environment.publish([flagOf('two')]);
    expect(await config.receive(environment.message(0))).toBe('refused');
    const fresh = configOf();
    expect(await fresh.receive(environment.message(0))).toBe('activated');
    expect(await fresh.receive(environment.message(0, environment.sign({ revision: 3 }, old)))).toBe('refused');
  });

  test('content that cannot be used is refused once, and not tried again under another number (I10)', async () => {
    const config = configOf();
    await config.receive(environment.message(0));
    const bad = aFlag('flag', { fallthrough: { variation: 'none' } });
    await environment.publish([bad]);
    expect(await config.receive(environment.message(0))).toBe('refused');
    expect(await config.receive(environment.message(0))).toBe('ignored');
    expect(servedValue(config)).toBe('one');
    await environment.publish([flagOf('three')]);
    expect(await config.receive(environment.message(0))).toBe('activated');
  });
});

describe('Trust', () => {
  test('another root key than the pinned one is never believed', async () => {
    const config = configOf({ trustRoot: new SignedFeedServer().trustRoot });
    expect(await config.receive(environment.message(0))).toBe('refused');
    expect(config.serving).toBeUndefined();
  });

  test('without a pin the first root key is believed, with one warning, and another one later is not', async () => {
    const config = configOf({ trustRoot: undefined });
    expect(await config.receive(environment.message(0))).toBe('activated');
    expect(warnings.filter((warning) => warning.includes('no trustRoot'))).toHaveLength(1);
    const trust = new Trust({
      trustRoot: undefined,
      environmentId: undefined,
      fetchKeySet: async () => keySetTextOf(feed.root.publicKey, feed.keySet()),
      warn: () => undefined,
    });
    await trust.refresh(0);
    const stranger = new SignedFeedServer();
    expect(() => trust.restore({ rootPublicKey: stranger.root.publicKey, keySet: stranger.keySet() })).toThrow(
      /another root key/,
    );
  });

  test('another environment than the one named is never believed, not even at first', async () => {
    const config = configOf({ environmentId: other.ref.environmentId });
    expect(await config.receive(environment.message(0))).toBe('refused');
  });
});

describe('DiskCopy', () => {
  const fileOf = () => join(folder, readdirSync(folder)[0] ?? 'none');

  async function kept(): Promise<void> {
    const config = configOf({ isKept: true });
    await config.receive(environment.message(0));
    await config.receive(await environment.publish([flagOf('two')]));
  }

  test('what was served is served again after a restart, and nothing older after it (I7)', async () => {
    const old = environment.message(0);
    await kept();
    const config = configOf({ isKept: true });
    expect(config.restore()).toBe(true);
    expect(servedValue(config)).toBe('two');
    expect(await config.receive(old)).toBe('ignored');
    expect(await config.receive(await environment.publish([flagOf('three')]))).toBe('activated');
  });

  test('it is believed although it has expired since (I12)', async () => {
    environment.validForMs = 50;
    await kept();
    await new Promise((resolve) => setTimeout(resolve, 80));
    expect(configOf({ isKept: true }).restore()).toBe(true);
  });

  test('a file that was cut or changed anywhere is not served, and does not throw', async () => {
    await kept();
    const bytes = readFileSync(fileOf());
    let refusedCount = 0;
    for (let at = 0; at < bytes.length; at += 7) {
      for (const damaged of [bytes.subarray(0, at), flipped(bytes, at)]) {
        writeFileSync(fileOf(), damaged);
        const config = configOf({ isKept: true });
        // A change that changes nothing, as in the case of a letter of the base64 of padding bits, may be served: then it is the right one.
        if (config.restore()) expect(servedValue(config)).toBe('two');
        else refusedCount += 1;
      }
    }
    expect(refusedCount).toBeGreaterThan((2 * bytes.length) / 7 - 20);
  });

  test('the file of another environment, or under another root, is not served', async () => {
    await kept();
    expect(configOf({ isKept: true, environmentId: 'env-else' }).restore()).toBe(false);
    expect(configOf({ isKept: true, trustRoot: new SignedFeedServer().trustRoot }).restore()).toBe(false);
  });

  test('a process that lags does not write over what a newer one has written', async () => {
    const config = configOf({ isKept: true });
    const old = environment.message(0);
    await kept();
    await config.receive(old);
    const next = configOf({ isKept: true });
    next.restore();
    expect(next.serving?.revision).toBe(2);
  });

  test('nothing is left beside the file, and nobody else may read it', async () => {
    await kept();
    expect(readdirSync(folder)).toEqual(['guidon-credential.config']);
  });

  test('several clients of one process share a folder', async () => {
    const clients = Array.from({ length: 8 }, () => configOf({ isKept: true }));
    const outcomes = await Promise.all(clients.map((client) => client.receive(environment.message(0))));
    expect(new Set(outcomes)).toEqual(new Set(['activated']));
    expect(warnings).toEqual([]);
    expect(readdirSync(folder)).toEqual(['guidon-credential.config']);
    const next = configOf({ isKept: true });
    expect(next.restore()).toBe(true);
    expect(servedValue(next)).toBe('one');
  });

  test('a disk that cannot be written keeps nobody from being served', async () => {
    const config = configOf({ isKept: true });
    rmSync(folder, { recursive: true });
    expect(await config.receive(environment.message(0))).toBe('activated');
    expect(config.isDiskBehind).toBe(true);
    expect(warnings).toHaveLength(1);
    // It is made again for the next test to remove.
    configOf({ isKept: true });
  });
});
