import assert from 'node:assert/strict';
import { PlatformError, REQUEST_LIMITS } from '@guidon/protocol';
import { STATUS, THREAD } from '../compile/thread-layout.js';
import { decodeStrictMsgpack } from './decode-strict-msgpack.js';
import { type KernelAnswer, type KernelRefusal, limitOfPlace, refusalOfPlace } from './kernel-answer.js';
import type { KernelMemory } from './kernel-memory.js';
import type { ThreadRegions } from './thread-regions.js';

/** Larger malformed bodies are not read again to say what is wrong with them: that is the owner's thread, which must not block. */
const NAMED_BYTES_MAX = 64 * 1024;

/**
 * What a call that ended with `result` found. Undefined when the thread's regions were not enough: they are now, ask again. For the owner
 * of the memory, while the thread is outside a call.
 */
export function readAnswer(memory: KernelMemory, regions: ThreadRegions, result: number): KernelAnswer | undefined {
  if (result >= 0) {
    return { status: 'ok', bytes: regions.answerView(result), evaluations: regions.read(THREAD.evaluations) };
  }
  const status = -result;
  if (status === STATUS.stampsUsed) {
    regions.resetStamps();
    return undefined;
  }
  if (status !== STATUS.answerFull) return readRefusal(memory, regions, status);
  let hasGrown = false;
  if (!hasRoom(() => (hasGrown = regions.growAnswer()))) return memoryFull();
  return hasGrown ? undefined : answerTooLarge();
}

function readRefusal(memory: KernelMemory, regions: ThreadRegions, status: number): KernelAnswer {
  const place = regions.read(THREAD.errorPlace);
  if (status === STATUS.limit) return limitOfPlace(place);
  if (status === STATUS.invalid) {
    return refusalOfPlace(place, regions.read(THREAD.errorIndex), unknownName(memory, regions));
  }
  if (status === STATUS.revisionBehind) {
    const minRevision = memory.view.getBigUint64(regions.address + THREAD.minRevision, true);
    return { status: 'revision-behind', minRevision: Number(minRevision) };
  }
  assert(status === STATUS.malformed, 'the kernel answers one of the statuses');
  if (regions.requestBytes > NAMED_BYTES_MAX) {
    return { status: 'malformed-body', detail: `the body is no msgpack at byte ${regions.read(THREAD.errorOffset)}` };
  }
  const decoded = decodeStrictMsgpack(requestOf(memory, regions));
  const detail = decoded.ok ? 'the body is no msgpack' : `${decoded.detail} at byte ${decoded.offset}`;
  return { status: 'malformed-body', detail };
}

/** The member that the protocol does not name, read again from the body: names that long are rare. */
function unknownName(memory: KernelMemory, regions: ThreadRegions): string {
  const offset = regions.read(THREAD.errorOffset);
  const decoded = decodeStrictMsgpack(requestOf(memory, regions).subarray(offset), { isPrefix: true });
  return decoded.ok && typeof decoded.value === 'string' ? decoded.value : '';
}

/** A copy of the request, which the kernel leaves as it was. */
export function requestOf({ bytes }: KernelMemory, { requestAddress, requestBytes }: ThreadRegions): Uint8Array {
  return Uint8Array.from(bytes.subarray(requestAddress, requestAddress + requestBytes));
}

function answerTooLarge(): KernelRefusal {
  return { status: 'limit-exceeded', detail: `the answer has more than ${REQUEST_LIMITS.answerBytes} bytes` };
}

/** Runs what may find the memory full; nothing has changed then. */
export function hasRoom(reserve: () => void): boolean {
  try {
    reserve();
    return true;
  } catch (error) {
    if (error instanceof PlatformError && error.code === 'limit-exceeded') return false;
    throw error;
  }
}

export function memoryFull(): KernelRefusal {
  return { status: 'limit-exceeded', detail: 'the kernel memory is too full for a request or an answer of this size' };
}
