import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  type CompiledSnapshot,
  compileSnapshot,
  type Definition,
  encodeMsgpack,
  type KernelHost,
  verifySnapshot,
} from '@guidon/engine';
import { rootDigest } from '@guidon/engine/compile/compile-root.js';
import { BLOCK_ENTRY, ROOT } from '@guidon/engine/compile/layout.js';
import { type Json, PlatformError } from '@guidon/protocol';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { TEST_ENVIRONMENT, testHost } from '../support/kernel-evaluator.js';
import { encodeContexts, parsedFlagSet } from './compare-evaluators.js';
import { context } from './context-generators.js';
import { everyFeature, everyFeatureBody } from './every-feature.js';
import { definitions } from './flag-set-generators.js';
import { blockFields, type FieldSite, readField, rootFields, triedValues, withField } from './snapshot-fields.js';
import { chooserOf } from './varied-msgpack.js';

const MUTATION_COUNT = process.env.GUIDON_DEEP === '1' ? 200_000 : 10_000;
const MUTATIONS_PER_SNAPSHOT = 250;

type Choose = (count: number) => number;

/** Flips, overwrites, cuts or extends bytes. Small values and offsets nearby are tried too: they pass more checks than noise does. */
function mutate(bytes: Uint8Array, choose: Choose): Uint8Array {
  const kind = choose(12);
  if (kind === 0) return bytes.slice(0, choose(bytes.length));
  if (kind === 1) return bytes.slice(0, bytes.length - 8 * (1 + choose(4)));
  if (kind === 2) return Buffer.concat([bytes, Buffer.alloc(8 * (1 + choose(4)), choose(256))]);
  const mutated = bytes.slice();
  for (let count = 1 + choose(3); count > 0; count -= 1) {
    // Headers and tables stand at the front; most references are whole words.
    const offset = choose(2) === 0 ? choose(Math.min(bytes.length, 320)) : choose(bytes.length);
    const word = offset & ~3;
    const view = new DataView(mutated.buffer, mutated.byteOffset);
    if (kind < 6) mutated[offset] = (mutated[offset] ?? 0) ^ (1 << choose(8));
    else if (kind < 8) mutated[offset] = choose(256);
    else if (kind < 10) view.setUint32(word, choose(64), true);
    else if (kind < 11) view.setUint32(word, view.getUint32(word, true) + choose(65) - 32, true);
    else view.setUint32(word, [0xffffffff, 0x7fffffff, 0x80000000, 0xfffffffe, bytes.length][choose(5)] ?? 0, true);
  }
  return mutated;
}

/** Makes the digests right again after a mutation, so that only the structure can give it away. */
function sealed(root: Uint8Array, blocks: Map<string, Uint8Array>, mutatedId: string | undefined): CompiledSnapshot {
  const bytes = root.slice();
  if (mutatedId !== undefined) {
    const block = blocks.get(mutatedId);
    assert(block !== undefined, 'the mutated block is there');
    const id = createHash('sha256').update(block).digest();
    blocks.delete(mutatedId);
    blocks.set(id.toString('hex'), block);
    const entry = Buffer.from(bytes.buffer).indexOf(Buffer.from(mutatedId, 'hex'));
    if (entry >= 0) {
      bytes.set(id, entry + BLOCK_ENTRY.id);
      new DataView(bytes.buffer).setUint32(entry + BLOCK_ENTRY.blockBytes, block.length, true);
    }
  }
  if (bytes.length >= ROOT.bytes) bytes.set(rootDigest(bytes), ROOT.digest);
  return { environment: TEST_ENVIRONMENT, revision: 3, root: bytes, blocks };
}

/** One field of one record changed, the digests made right again. */
function withFieldIn(
  snapshot: CompiledSnapshot,
  id: string | undefined,
  site: FieldSite,
  value: number,
): CompiledSnapshot {
  if (id === undefined) return sealed(withField(snapshot.root, site, value), new Map(snapshot.blocks), undefined);
  const block = snapshot.blocks.get(id);
  assert(block !== undefined, 'the block is there');
  return sealed(snapshot.root, new Map(snapshot.blocks).set(id, withField(block, site, value)), id);
}

function revisionOf({ root }: CompiledSnapshot): number {
  return Number(new DataView(root.buffer, root.byteOffset).getBigUint64(ROOT.revision, true));
}

function mutatedSnapshot(snapshot: CompiledSnapshot, choose: Choose): { mutated: CompiledSnapshot; isSealed: boolean } {
  const isSealed = choose(2) === 0;
  const blocks = new Map(snapshot.blocks);
  const ids = [...blocks.keys()];
  const id = choose(3) === 0 ? undefined : ids[choose(ids.length)];
  const target = id === undefined ? snapshot.root : blocks.get(id);
  assert(target !== undefined, 'there is something to mutate');
  const bytes = mutate(target, choose);
  if (id === undefined) {
    return { mutated: isSealed ? sealed(bytes, blocks, undefined) : { ...snapshot, root: bytes }, isSealed };
  }
  blocks.set(id, bytes);
  return { mutated: isSealed ? sealed(snapshot.root, blocks, id) : { ...snapshot, blocks }, isSealed };
}

/** The answer in both formats, one behind the other. */
async function answerOf(
  host: KernelHost,
  snapshot: CompiledSnapshot,
  body: Uint8Array,
  clientSideOnly: boolean,
): Promise<Buffer> {
  const resident = await host.load({ ...snapshot, revision: revisionOf(snapshot) });
  try {
    const answers = (['msgpack', 'json'] as const).map((answerFormat) => {
      const answer = host.evaluate(resident, body, { route: 'batch', now: 5_000, clientSideOnly, answerFormat });
      assert(answer.status === 'ok', JSON.stringify(answer));
      return Buffer.from(answer.bytes);
    });
    return Buffer.concat(answers);
  } finally {
    host.release(resident);
  }
}

it('refuses or evaluates every field of every record with any value, and never traps (I10)', async () => {
  const host = await testHost();
  const { compiled, issues } = compileSnapshot(everyFeature(), { environment: TEST_ENVIRONMENT, revision: 3 });
  assert(compiled !== undefined, JSON.stringify(issues));
  const { snapshot } = compiled;
  const parts = [...snapshot.blocks].map(([id, bytes]) => ({ id, bytes, sites: blockFields(bytes) }));
  const all = [{ id: undefined, bytes: snapshot.root, sites: rootFields(snapshot.root) }, ...parts];
  const counts = { refused: 0, evaluated: 0 };
  const names = new Set<string>();
  for (const { id, bytes, sites } of all) {
    for (const site of sites) {
      names.add(site.name);
      for (const value of triedValues(site, readField(bytes, site), bytes.length)) {
        const mutated = withFieldIn(snapshot, id, site, value);
        if (verifySnapshot(mutated, TEST_ENVIRONMENT) !== undefined) {
          counts.refused += 1;
          continue;
        }
        counts.evaluated += 1;
        await answerOf(host, mutated, everyFeatureBody(), false).catch((cause: unknown) => {
          throw new Error(`${site.name} at ${site.offset} = ${value} is accepted and stops the kernel`, { cause });
        });
      }
    }
  }
  console.log('every field:', JSON.stringify(counts));
  expect(counts.refused).toBeGreaterThan(1_000);
  expect(counts.evaluated).toBeGreaterThan(1_000);
  // The walk met every record there is; the set below has all of them.
  for (const record of [
    'NODE.slot',
    'NODE.size',
    'SHORT_PAIR',
    'IN.strings',
    'TEXT.failure',
    'SEMVER.major',
    'CIDR.family',
    'WEIGHT.upTo',
    'TARGET.keys',
  ]) {
    expect(names).toContain(record);
  }
  for (const record of ['SEGMENT_RULE.nodes', 'KEY_ENTRY.offset', 'LIST.chunk', 'CHUNK.block', 'SLOT.parent', 'refs']) {
    expect(names).toContain(record);
  }
}, 120_000);

it(`refuses or evaluates ${MUTATION_COUNT} mutated snapshots, and never crashes (I10)`, {
  timeout: process.env.GUIDON_DEEP === '1' ? 3_600_000 : 120_000,
}, async () => {
  const seed = Number(process.env.GUIDON_SEED ?? Date.now() % 2 ** 31);
  console.log(`mutated snapshots: seed ${seed}`);
  const choose = chooserOf(seed);
  const host = await testHost();
  const counts = { refused: 0, refusedSealed: 0, evaluated: 0 };
  for (let round = 0; round < MUTATION_COUNT / MUTATIONS_PER_SNAPSHOT; round += 1) {
    const [set] = fc.sample(definitions, { seed: seed + round, numRuns: 1 }) as [Definition[]];
    const values = fc.sample(context, { seed: seed + round, numRuns: 6 });
    const contexts = encodeContexts(values, seed).map((text) => Buffer.from(text, 'base64'));
    const { compiled } = compileSnapshot(parsedFlagSet(set), { environment: TEST_ENVIRONMENT, revision: 3 });
    assert(compiled !== undefined, 'the generator makes valid definitions');
    const name = Buffer.from(encodeMsgpack('contexts' as Json));
    const head = Buffer.concat([
      Buffer.from([0x82]),
      Buffer.from(encodeMsgpack('flags')),
      Buffer.from(encodeMsgpack(['flag-0', 'flag-1', 'flag-2', 'flag-3', 'flag-4'])),
    ]);
    const body = Buffer.concat([head, name, Buffer.from([0x90 | contexts.length]), ...contexts]);
    for (let index = 0; index < MUTATIONS_PER_SNAPSHOT; index += 1) {
      const { mutated, isSealed } = mutatedSnapshot(compiled.snapshot, choose);
      const issue = verifySnapshot(mutated, TEST_ENVIRONMENT);
      if (issue !== undefined) {
        counts[isSealed ? 'refusedSealed' : 'refused'] += 1;
        // The host verifies for itself and refuses the same.
        if (index % 10 === 0) await expect(host.load(mutated)).rejects.toBeInstanceOf(PlatformError);
        continue;
      }
      counts.evaluated += 1;
      const clientSideOnly = index % 2 === 0;
      const answer = await answerOf(host, mutated, body, clientSideOnly);
      // Without new digests nothing is accepted but the same bytes again.
      if (!isSealed) expect(answer.equals(await answerOf(host, compiled.snapshot, body, clientSideOnly))).toBe(true);
    }
  }
  console.log('mutated snapshots:', JSON.stringify(counts));
  // Both halves have to be exercised: bytes that the digests give away, and bytes that only the structure can.
  expect(counts.refused).toBeGreaterThan(MUTATION_COUNT / 4);
  expect(counts.refusedSealed).toBeGreaterThan(MUTATION_COUNT / 20);
  expect(counts.evaluated).toBeGreaterThan(MUTATION_COUNT / 20);
});
