import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { PlatformError, REQUEST_LIMITS } from '@guidon/protocol';
import { JSON_FAULT, MSGPACK, STATUS, THREAD } from '../compile/thread-layout.js';
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
  return status === STATUS.answerFull ? enlargeAnswer(regions) : readRefusal(memory, regions, status);
}

/** A function of its own: what a closure captures is made at the entry of its function, for every answer. */
function enlargeAnswer(regions: ThreadRegions): KernelRefusal | undefined {
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
  return { status: 'malformed-body', detail: malformedDetail(memory, regions) };
}

function malformedDetail(memory: KernelMemory, regions: ThreadRegions): string {
  const fault = regions.read(THREAD.jsonFault);
  const offset = regions.read(THREAD.errorOffset);
  const isLarge = regions.requestBytes > NAMED_BYTES_MAX;
  if (fault === JSON_FAULT.reader && isLarge) {
    return `a string is not well-formed UTF-8 or an object has the same name twice at byte ${offset}`;
  }
  if (fault !== JSON_FAULT.none) {
    return `${jsonFaultOf(fault, memory, regions.requestAddress + offset)} at byte ${offset}`;
  }
  if (isLarge) return `the body is no msgpack at byte ${offset}`;
  const decoded = decodeStrictMsgpack(requestOf(memory, regions));
  return decoded.ok ? 'the body is no msgpack' : `${decoded.detail} at byte ${decoded.offset}`;
}

function jsonFaultOf(fault: number, { text }: KernelMemory, at: number): string {
  if (fault === JSON_FAULT.depth) return `more than ${MSGPACK.depthMax} levels`;
  if (fault === JSON_FAULT.members) return `an object has more than ${MSGPACK.membersMax} members`;
  if (fault === JSON_FAULT.syntax) return 'the body is no JSON';
  // Of all strings that are closed the reader minds what is no UTF-8.
  const end = closingQuote(text, at);
  return isUtf8(Uint8Array.from(text.subarray(at, end)))
    ? 'an object has the same name twice'
    : 'a string is not well-formed UTF-8';
}

/** Address of the quote that closes the string at `at`, or `at` when there is none. */
function closingQuote(text: Uint8Array, at: number): number {
  if (text[at] !== 0x22) return at;
  let end = at + 1;
  while (text[end] !== 0x22) end += text[end] === 0x5c ? 2 : 1;
  return end;
}

/** The member that the protocol does not name, read again from the body: names that long are rare. */
function unknownName(memory: KernelMemory, regions: ThreadRegions): string {
  const at = regions.read(THREAD.body) + regions.read(THREAD.errorOffset);
  const decoded = decodeStrictMsgpack(copyOf(memory, at, regions.read(THREAD.end)), { isPrefix: true });
  return decoded.ok && typeof decoded.value === 'string' ? decoded.value : '';
}

/** A copy of the request, which the kernel leaves as it was. */
export function requestOf(memory: KernelMemory, { requestAddress, requestBytes }: ThreadRegions): Uint8Array {
  return copyOf(memory, requestAddress, requestAddress + requestBytes);
}

function copyOf({ bytes }: KernelMemory, from: number, to: number): Uint8Array {
  return Uint8Array.from(bytes.subarray(from, to));
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
