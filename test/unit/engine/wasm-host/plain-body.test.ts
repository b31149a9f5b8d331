import assert from 'node:assert/strict';
import {
  compileSnapshot,
  encodeMsgpack,
  type KernelAnswer,
  type KernelHost,
  type ResidentSnapshot,
} from '@guidon/engine';
import type { Json } from '@guidon/protocol';
import { describe, expect, it } from 'vitest';
import { aFlag, flagSetOf } from '../../../support/flag-sets.js';
import { TEST_ENVIRONMENT, testHost } from '../../../support/kernel-evaluator.js';

type Route = 'evaluate' | 'batch';

const optionsOf = (route: Route) => ({ route, now: 0, clientSideOnly: false }) as const;

async function loaded(): Promise<{ host: KernelHost; resident: ResidentSnapshot }> {
  const rule = {
    id: 'r',
    when: { attribute: 'plan', op: 'in', values: ['pro'] },
    serve: { variation: 'yes' },
  } as const;
  const { compiled } = compileSnapshot(flagSetOf([aFlag('a', { rules: [rule] })]), {
    environment: TEST_ENVIRONMENT,
    revision: 3,
  });
  assert(compiled !== undefined, 'the flag compiles');
  const host = await testHost();
  return { host, resident: await host.load(compiled.snapshot) };
}

async function askOf(route: Route = 'evaluate'): Promise<(body: Uint8Array) => KernelAnswer> {
  const { host, resident } = await loaded();
  return (body) => {
    const answer = host.evaluate(resident, body, optionsOf(route));
    return answer.status === 'ok' ? { ...answer, bytes: Uint8Array.from(answer.bytes) } : answer;
  };
}

/** The same members in the other order: never the plain form. */
function turned(flags: string, context: Json): Uint8Array {
  return encodeMsgpack({ context, flags });
}

describe('a body of one flag key and one context, in this order', () => {
  const contexts: Json[] = [
    {},
    { plan: 'pro' },
    { plan: 'free', targetingKey: 'user-1', tags: ['a', { deep: [1, 2.5, null] }] },
    { kind: 'multi', user: { plan: 'pro' }, company: { targetingKey: 'c' } },
    { kind: 'company', plan: 'pro' },
    { kind: 7 },
    null,
    'none',
    [],
    { text: 'x'.repeat(40_000) },
    Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`n${index}`, index])),
  ];
  const keys = ['a', 'nowhere', '', 'x'.repeat(31), 'x'.repeat(32), 'x'.repeat(300), 'é'];

  it('is answered as when its members stand in the other order', async () => {
    const ask = await askOf();
    for (const context of contexts) {
      for (const flags of keys) {
        expect(ask(encodeMsgpack({ flags, context })), `${flags} ${JSON.stringify(context)}`).toEqual(
          ask(turned(flags, context)),
        );
      }
    }
  });

  it('is answered alike wherever it lies in memory', async () => {
    const ask = await askOf();
    const body = encodeMsgpack({ flags: 'a', context: { plan: 'pro', targetingKey: 'user-1' } });
    const wanted = ask(body);
    for (let shift = 0; shift < 16; shift += 1) {
      const moved = new Uint8Array(body.length + 16).subarray(shift, shift + body.length);
      moved.set(body);
      expect(ask(moved)).toEqual(wanted);
    }
  });

  it('is malformed when it is cut, has bytes behind it or a member twice, and harms no later one', async () => {
    const ask = await askOf();
    const good = encodeMsgpack({ flags: 'a', context: { plan: 'pro', unknown: 1, other: 2 } });
    const wanted = ask(good);
    for (let length = 0; length < good.length; length += 1) {
      expect(ask(good.subarray(0, length)).status).toBe('malformed-body');
    }
    expect(ask(Buffer.concat([good, Buffer.of(0xc0)])).status).toBe('malformed-body');
    const twice = Buffer.concat([
      encodeMsgpack({ flags: 'a', context: {} }).subarray(0, -1),
      Buffer.of(0x83),
      ...['plan', 'unknown', 'unknown'].flatMap((name) => [encodeMsgpack(name), encodeMsgpack(1)]),
    ]);
    expect(ask(twice).status).toBe('malformed-body');
    const key = Buffer.from(good);
    key[8] = 0xff;
    expect(ask(key).status).toBe('malformed-body');
    expect(ask(good)).toEqual(wanted);
  });
});

describe('a batch of entries of one flag key and one context, in this order', () => {
  const contexts: Json[] = [
    {},
    { plan: 'pro' },
    { kind: 'multi', user: { plan: 'pro' } },
    { kind: 7 },
    null,
    { text: 'x'.repeat(40_000) },
  ];
  const entries = contexts.flatMap((context) => ['a', 'nowhere', 'x'.repeat(40)].map((flag) => ({ flag, context })));
  const turnedEntry = ({ flag, context }: (typeof entries)[number]): Json => ({ context, flag });

  it('is answered as when their members stand in the other order, all or the last one alone', async () => {
    const ask = await askOf('batch');
    for (let length = 0; length <= entries.length; length += 1) {
      const some = entries.slice(0, length);
      const wanted = ask(encodeMsgpack({ requests: some.map(turnedEntry) }));
      expect(wanted.status).toBe('ok');
      expect(ask(encodeMsgpack({ requests: some }))).toEqual(wanted);
      const mixed = some.map((entry, index) => (index === length - 1 ? turnedEntry(entry) : entry));
      expect(ask(encodeMsgpack({ requests: mixed }))).toEqual(wanted);
    }
  });

  it('is malformed when it is cut or has bytes behind it, whatever was answered before', async () => {
    const ask = await askOf('batch');
    const good = encodeMsgpack({ requests: entries.slice(0, 6) });
    const wanted = ask(good);
    for (let length = 0; length < good.length; length += 1) {
      expect(ask(good.subarray(0, length)).status).toBe('malformed-body');
    }
    expect(ask(Buffer.concat([good, Buffer.of(0xc0)])).status).toBe('malformed-body');
    expect(ask(good)).toEqual(wanted);
  });

  it('counts each result once when it has to be read again', async () => {
    const { host, resident } = await loaded();
    host.memory.sweepUsage();
    const before = host.memory.usage.evaluationsOf(TEST_ENVIRONMENT);
    const requests = [
      { flag: 'a', context: {} },
      { flag: 'a', context: {} },
      { context: {}, flag: 'a' },
    ];
    assert(host.evaluate(resident, encodeMsgpack({ requests }), optionsOf('batch')).status === 'ok');
    host.memory.sweepUsage();
    expect(host.memory.usage.evaluationsOf(TEST_ENVIRONMENT) - before).toBe(3);
  });
});
