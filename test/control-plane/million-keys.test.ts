import {
  compileSnapshot,
  decodeDefinition,
  definitionKey,
  encodeMsgpack,
  type FlagSet,
  KernelHost,
} from '@guidon/engine';
import { parseEnvironmentRef } from '@guidon/protocol';
import { decodeConfigMessage } from '@guidon/protocol/msgpack';
import { parseManifest } from '@guidon/protocol/signed-config';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Seed, TestControlPlane } from '../support/control-plane.js';

/** The whole way of a large segment: uploaded over HTTP in parts, shipped as config messages, evaluated in the kernel. */
const KEY_COUNT = 1_000_000;
const PART_KEYS = 50_000;
const ONE_KEY_BYTES_MAX = 200 * 1024;

let plane: TestControlPlane;
let acme: Seed;
let node: string;

beforeAll(async () => {
  plane = await TestControlPlane.start();
  acme = await plane.seed('acme');
  node = await plane.running.issueNodeCredential('node');
  await plane.must('POST', `${acme.dev.path}/segments`, { body: { key: 'big' } });
  await plane.must('POST', `${acme.project}/flags`, {
    body: {
      key: 'gate',
      type: 'boolean',
      initialTargeting: {
        dev: {
          on: true,
          fallthrough: { variation: 'off' },
          rules: [{ id: 'members', when: { segment: ['big'] }, serve: { variation: 'on' } }],
        },
      },
    },
  });
});
afterAll(() => plane.dispose());

const keyOf = (index: number): string => `user-${index}`;

/** What a node is given, as it reads it. */
async function readConfig(since?: number) {
  const query = since === undefined ? '' : `?since=${since}`;
  const { bytes } = await plane.must('GET', `/internal/v1/environments/${acme.dev.id}/config${query}`, { token: node });
  const message = decodeConfigMessage(bytes);
  return { byteCount: bytes.length, message, manifest: parseManifest(message.signed.document) };
}

function flagSetOf(definitions: readonly Uint8Array[], base?: FlagSet): FlagSet {
  const flags = new Map(base?.flags);
  const segments = new Map(base?.segments);
  const segmentKeys = new Map(base?.segmentKeys);
  for (const bytes of definitions) {
    const parsed = decodeDefinition(bytes);
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
    const { value } = parsed;
    if (value.kind === 'flag') flags.set(value.key, value);
    else if (value.kind === 'segment') segments.set(value.key, value);
    else segmentKeys.set(definitionKey(value), value);
  }
  return { flags, segments, segmentKeys };
}

/** Asks the kernel for each key whether the flag is on for it. */
async function areMembers(flagSet: FlagSet, revision: number, keys: readonly string[]): Promise<boolean[]> {
  const environment = parseEnvironmentRef((await readConfig()).manifest);
  const { compiled, issues } = compileSnapshot(flagSet, { environment, revision });
  if (compiled === undefined) throw new Error(JSON.stringify(issues));
  const host = await KernelHost.create();
  const resident = await host.load(compiled.snapshot);
  const contexts = keys.map((targetingKey) => ({ targetingKey }));
  const body = encodeMsgpack({ contexts, flags: ['gate'] });
  const answerFormat = 'json';
  const answer = host.evaluate(resident, body, { route: 'batch', now: 0, clientSideOnly: false, answerFormat });
  if (answer.status !== 'ok') throw new Error(JSON.stringify(answer));
  const { results } = JSON.parse(Buffer.from(answer.bytes).toString());
  return results.map(({ value }: { value: boolean }) => value);
}

async function addKeys(add: string[], remove: string[] = []): Promise<number> {
  const startMs = performance.now();
  await plane.must('POST', `${acme.dev.path}/segments/big/keys`, { body: { add, remove } });
  return performance.now() - startMs;
}

describe('a segment of 1 000 000 keys', () => {
  let flagSet: FlagSet;

  test('is uploaded in parts of 1 MiB and becomes one revision that the kernel answers from', async () => {
    const before = (await readConfig()).manifest.revision;
    const { body: upload } = await plane.must('POST', `${acme.dev.path}/segments/big/uploads`, {
      body: { mode: 'add' },
    });
    const path = `${acme.dev.path}/segments/big/uploads/${upload.id}`;
    for (let from = 0; from < KEY_COUNT - 1; from += PART_KEYS) {
      const to = Math.min(from + PART_KEYS, KEY_COUNT - 1);
      let raw = '';
      for (let index = from; index < to; index += 1) raw += `"${keyOf(index)}"\n`;
      const headers = { 'content-type': 'application/x-ndjson' };
      await plane.must('PUT', `${path}/parts/${from / PART_KEYS + 1}`, { raw, headers });
    }
    const startMs = performance.now();
    const done = await plane.must('POST', `${path}/complete`);
    console.log(`upload of ${KEY_COUNT - 1} keys completed in ${Math.round(performance.now() - startMs)} ms`);
    expect(done.body).toMatchObject({ count: KEY_COUNT - 1, revision: before + 1 });

    const { message, manifest } = await readConfig();
    flagSet = flagSetOf(message.delta?.changed ?? []);
    const members = [0, 1, 4_095, 499_999, 999_998].map(keyOf);
    const others = [keyOf(999_999), keyOf(1_000_000), 'user-', 'USER-1', ' user-1', 'one-more'];
    expect(await areMembers(flagSet, manifest.revision, members)).toEqual(members.map(() => true));
    expect(await areMembers(flagSet, manifest.revision, others)).toEqual(others.map(() => false));
  }, 60_000);

  test('one more key writes and ships one chunk: at most 200 KiB (I2: one revision)', async () => {
    const before = (await readConfig()).manifest.revision;
    const timesMs = [await addKeys(['one-more'])];
    const { byteCount, message, manifest } = await readConfig(before);
    for (let round = 0; round < 10; round += 1)
      timesMs.push(await addKeys([`swap-${round + 1}`], [round === 0 ? 'user-5' : `swap-${round}`]));
    const sorted = [...timesMs].sort((a, b) => a - b);
    console.log(
      `one more key of ${KEY_COUNT}: ${byteCount} bytes; first ${timesMs[0]?.toFixed(1)} ms, median of ${sorted.length} edits ${sorted[5]?.toFixed(1)} ms`,
    );
    expect(manifest.revision).toBe(before + 1);
    expect(byteCount).toBeLessThanOrEqual(ONE_KEY_BYTES_MAX);
    // One chunk, or the two halves of one that was full.
    expect(message.delta?.changed.length).toBeLessThanOrEqual(2);
    const next = flagSetOf(message.delta?.changed ?? [], flagSet);
    for (const [, key] of message.delta?.removed ?? []) (next.segmentKeys as Map<string, unknown>).delete(key);
    expect(await areMembers(next, manifest.revision, ['one-more', keyOf(0), 'two-more'])).toEqual([true, true, false]);
  }, 60_000);

  test('no more keys than a segment may have, and a restart keeps every one', async () => {
    const full = await plane.call('POST', `${acme.dev.path}/segments/big/keys`, { body: { add: ['too-many'] } });
    expect([full.status, full.body.code]).toEqual([422, 'limit-exceeded']);
    const elsewhere = { list: 'excluded', add: ['too-many'] };
    const other = await plane.call('POST', `${acme.dev.path}/segments/big/keys`, { body: elsewhere });
    expect([other.status, other.body.code]).toEqual([422, 'limit-exceeded']);

    const segment = await plane.must('GET', `${acme.dev.path}/segments/big`);
    const page = await plane.must('GET', `${acme.dev.path}/segments/big/keys?limit=3`);
    const config = await readConfig();
    await plane.stop();
    plane = await TestControlPlane.start({ directory: plane.directory });
    expect((await plane.must('GET', `${acme.dev.path}/segments/big`)).text).toBe(segment.text);
    expect((await plane.must('GET', `${acme.dev.path}/segments/big/keys?limit=3`)).text).toBe(page.text);
    const again = await readConfig();
    expect(again.manifest).toEqual(config.manifest);
    expect(again.byteCount).toBe(config.byteCount);
  }, 60_000);
});
