import { createHash, hash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type EnvironmentRef, LIMITS, PlatformError } from '@guidon/protocol';
import { check } from '../compile/byte-reader.js';
import type { CompiledSnapshot } from '../compile/compile-snapshot.js';
import { ROOT } from '../compile/layout.js';
import { type BlockSummary, verifyBlock } from '../compile/verify-block.js';
import { verifyReferences, verifyRoot } from '../compile/verify-root.js';
import { checkPattern, refusalFrom } from '../compile/verify-snapshot.js';
import type { AcceptedPatterns } from './accepted-patterns.js';
import type { KernelMemory } from './kernel-memory.js';
import type { ResidentBlock, ResidentBlocks } from './resident-blocks.js';

/** Work between two turns of the event loop, which evaluations wait for: less than 5 ms with the longest single step. */
const SLICE_MS = 3;
/** Bytes hashed or copied in one step. */
const STEP_BYTES = 256 * 1024;

/** A snapshot in kernel memory. Valid until it is released. */
export interface ResidentSnapshot {
  readonly environment: EnvironmentRef;
  readonly revision: number;
  readonly flagCount: number;
  /** Epoch ms, ascending: when a clause on `@now` changes its answer. */
  readonly instants: readonly number[];
  /** Of the root and of all its blocks, shared ones included. */
  readonly snapshotBytes: number;
  /** Owned by the memory: where the root lies, behind it the addresses of the blocks. */
  readonly address: number;
  readonly slotCount: number;
  /** Words of a USAGE block. */
  readonly counterCount: number;
  readonly blocks: readonly ResidentBlock[];
}

/** Lets the event loop turn after each slice of work. */
class Slices {
  #startedMs = performance.now();

  /** After each step. */
  async pause(): Promise<void> {
    if (performance.now() - this.#startedMs < SLICE_MS) return;
    await nextTurn();
    this.#startedMs = performance.now();
  }
}

/**
 * Verifies a snapshot and copies what is not resident yet. Nothing stays behind when it is refused or the memory is full. One at a
 * time per host, so that a block is never copied twice or named while half of it is there.
 */
export async function loadSnapshot(
  memory: KernelMemory,
  resident: ResidentBlocks,
  patterns: AcceptedPatterns,
  snapshot: CompiledSnapshot,
): Promise<ResidentSnapshot> {
  const { environment, root: rootBytes } = snapshot;
  const acquired: ResidentBlock[] = [];
  try {
    const root = verifyRoot(rootBytes, environment);
    const snapshotBytes = root.blocks.reduce((total, block) => total + block.byteCount, rootBytes.length);
    if (snapshotBytes > LIMITS.snapshotBytes) throw new PlatformError('limit-exceeded', 'the snapshot is too large');
    check(root.revision === snapshot.revision, 'the root is of another revision');
    const slices = new Slices();
    for (const { id, byteCount } of root.blocks) {
      const known = resident.acquire(id);
      if (known !== undefined) {
        acquired.push(known);
        continue;
      }
      const bytes = snapshot.blocks.get(id);
      check(bytes !== undefined && bytes.length === byteCount, 'a block is missing or cut');
      acquired.push(await copyBlock(memory, resident, id, bytes, patterns, slices));
    }
    verifyReferences(
      root,
      acquired.map((block): BlockSummary => block.summary),
    );
    const { revision, flagCount, slotCount, instants } = root;
    const counterCount = root.reader.u32(ROOT.counterCount);
    const address = copyRoot(memory, rootBytes, acquired);
    return {
      environment,
      revision,
      flagCount,
      slotCount,
      counterCount,
      instants,
      snapshotBytes,
      address,
      blocks: acquired,
    };
  } catch (error) {
    for (const block of acquired) resident.release(block);
    if (error instanceof PlatformError) throw error;
    const issue = refusalFrom(error);
    throw new PlatformError(issue.code, issue.detail, { cause: error });
  }
}

async function copyBlock(
  memory: KernelMemory,
  resident: ResidentBlocks,
  id: string,
  bytes: Uint8Array,
  patterns: AcceptedPatterns,
  slices: Slices,
): Promise<ResidentBlock> {
  check((await hashOf(bytes, slices)) === id, 'a block is not what its id says');
  const summary = verifyBlock(bytes);
  await slices.pause();
  for (const pattern of summary.patterns) {
    checkPattern(patterns.isAccepted(pattern));
    await slices.pause();
  }
  const address = memory.allocate(bytes.length);
  try {
    for (let from = 0; from < bytes.length; from += STEP_BYTES) {
      const slice = bytes.subarray(from, from + STEP_BYTES);
      memory.bytes.set(slice, address + from);
      await slices.pause();
    }
    return resident.add(id, address, summary);
  } catch (error) {
    memory.free(address);
    throw error;
  }
}

/** In hex. In one call where it is short: an object for each would have to be collected. */
async function hashOf(bytes: Uint8Array, slices: Slices): Promise<string> {
  if (bytes.length <= STEP_BYTES) return hash('sha256', bytes, 'hex');
  const steps = createHash('sha256');
  for (let from = 0; from < bytes.length; from += STEP_BYTES) {
    steps.update(bytes.subarray(from, from + STEP_BYTES));
    await slices.pause();
  }
  return steps.digest('hex');
}

/** The root and, right behind it, the address of each of its blocks: the kernel finds a block by its index. */
function copyRoot(memory: KernelMemory, root: Uint8Array, blocks: readonly ResidentBlock[]): number {
  const address = memory.allocate(root.length + blocks.length * 4);
  memory.bytes.set(root, address);
  for (const [index, block] of blocks.entries()) {
    memory.view.setUint32(address + root.length + index * 4, block.address, true);
  }
  return address;
}
