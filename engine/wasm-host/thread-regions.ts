import { randomBytes } from 'node:crypto';
import { LIMITS, REQUEST_LIMITS } from '@guidon/protocol';
import { COPY_SLACK_BYTES } from '../compile/layout.js';
import { MEMO, MSGPACK, SHAPE, SLOT_STATE, THREAD } from '../compile/thread-layout.js';
import type { KernelMemory } from './kernel-memory.js';

const ANSWER_BYTES_INITIAL = 64 * 1024;
const REQUEST_BYTES_INITIAL = 64 * 1024;
const SLOTS_INITIAL = 256;
const FLAGS_INITIAL = 256;
/** Answers below this length share a view by length. */
const VIEWED_BYTES_MAX = 1_024;
const WORD_BYTES = 8;
/** A key of a map takes at least two bytes of the body with its value, and eight of the key stack. */
const KEY_STACK_BYTES_PER_BODY_BYTE = 4;
const JSON_BYTES_INITIAL = 64 * 1024;
/**
 * What JSON becomes in msgpack, at most, per byte. Each value is charged with its own bytes and with the delimiter behind it, a container
 * without its closing bracket, which is the delimiter of its last element:
 *
 *   JSON      charged   msgpack      bytes
 *   [         2         dd + count   5       5/2: the worst
 *   []        3         dd + count   5
 *   {         2         de + count   3
 *   "…"       n + 3     n + header   n + 1 (n < 32), n + 2 (< 256), n + 3 (< 65 536), n + 5; escapes only become shorter
 *   0.1 -33   4         number       9       9/4
 *   null      5         literal      1
 *
 * Nothing stands behind the body itself, so that one byte of the charge is missing: JSON_GROWTH rounded up, and the rest of 9 bytes.
 */
const JSON_GROWTH = 2.5;
const JSON_GROWTH_END = 8;
/** Depths at which a context may stand; values longer than a context may be that stand at one depth do not overlap. */
const JSON_CONTEXT_DEPTHS = 3;

/** Fields of THREAD that hold the address of a region. */
const REGIONS = [
  THREAD.keyTable,
  THREAD.foldBuffer,
  THREAD.kinds,
  THREAD.shapes,
  THREAD.keyStack,
  THREAD.requestRegion,
  THREAD.jsonMsgpack,
  THREAD.jsonLarge,
  THREAD.answer,
  THREAD.slotStates,
  THREAD.memos,
  THREAD.usageLog,
] as const;

/** Written before they are read in each call. The others start zeroed; zeroing megabytes of these would hold up the owner's thread. */
const SCRATCH: ReadonlySet<number> = new Set([THREAD.keyStack, THREAD.requestRegion, THREAD.answer]);

/**
 * The THREAD block of one thread and the regions it names, as the owner of the memory sees them. Regions only grow, and only while the
 * thread is outside a call.
 */
export class ThreadRegions {
  readonly address: number;
  /** Of the request that lies in the request region. */
  requestBytes = 0;
  readonly #memory: KernelMemory;
  #requestAddress = 0;
  /** Of the request behind the start of its region. */
  #requestShift = 0;
  #answerAddress = 0;
  #requestCapacity = 0;
  #jsonCapacity = 0;
  #answerCapacity = 0;
  #slotCapacity = 0;
  #flagCapacity = 0;
  /** Views on short answers by their length, made when first asked for: making one takes as long as copying a request in. */
  #answerViews: (Uint8Array | undefined)[] = [];
  /** Of the memory when the views were made. */
  #viewedBuffer: SharedArrayBuffer | undefined;

  constructor(memory: KernelMemory) {
    this.#memory = memory;
    this.address = memory.allocate(THREAD.bytes);
    memory.bytes.fill(0, this.address, this.address + THREAD.bytes);
    memory.bytes.set(randomBytes(8), this.address + THREAD.seed);
    try {
      this.#move(THREAD.keyTable, MSGPACK.keyTableCount * MSGPACK.keyEntryBytes);
      this.#move(THREAD.foldBuffer, MSGPACK.foldBufferBytes);
      this.#move(THREAD.kinds, MSGPACK.kindsMax * 8);
      this.#move(THREAD.shapes, SHAPE.count * SHAPE.bytes);
      this.#move(THREAD.usageLog, REQUEST_LIMITS.evaluationsPerRequest * 4);
      this.reserveRequest(REQUEST_BYTES_INITIAL);
      this.#reserveAnswer(ANSWER_BYTES_INITIAL);
      this.reserveSnapshot(SLOTS_INITIAL, FLAGS_INITIAL);
    } catch (error) {
      this.free();
      throw error;
    }
  }

  /** Where the body of the request lies, and where the kernel puts the answer. */
  get requestAddress(): number {
    return this.#requestAddress;
  }

  get answerAddress(): number {
    return this.#answerAddress;
  }

  get requestCapacity(): number {
    return this.#requestCapacity;
  }

  /** Bytes that a JSON request may have; it takes room in the request region too. */
  get jsonCapacity(): number {
    return this.#jsonCapacity;
  }

  get answerCapacity(): number {
    return this.#answerCapacity;
  }

  /** A u32 field of the block. */
  read(field: number): number {
    return this.#memory.view.getUint32(this.address + field, true);
  }

  /** The first `byteCount` bytes of the answer region, as they are at any time. */
  answerView(byteCount: number): Uint8Array {
    const { buffer } = this.#memory;
    if (byteCount >= VIEWED_BYTES_MAX) return new Uint8Array(buffer, this.#answerAddress, byteCount);
    if (this.#viewedBuffer !== buffer) {
      this.#answerViews = new Array<undefined>(VIEWED_BYTES_MAX).fill(undefined);
      this.#viewedBuffer = buffer;
    }
    const known = this.#answerViews[byteCount];
    if (known !== undefined) return known;
    const view = new Uint8Array(buffer, this.#answerAddress, byteCount);
    this.#answerViews[byteCount] = view;
    return view;
  }

  /**
   * Copies the body of the next request in; it has room. Between a private and a shared memory V8 copies by words when both sides
   * lie alike to a multiple of eight, else byte by byte, which takes longer than evaluating most flags.
   */
  putRequest(body: Uint8Array): void {
    const shift = body.byteOffset % WORD_BYTES;
    if (shift !== this.#requestShift) this.#placeRequest(shift);
    this.#memory.bytes.set(body, this.#requestAddress);
    this.requestBytes = body.length;
  }

  #placeRequest(shift: number): void {
    this.#requestShift = shift;
    this.#requestAddress = this.read(THREAD.requestRegion) + shift;
    this.#memory.view.setUint32(this.address + THREAD.request, this.#requestAddress, true);
  }

  reserveRequest(byteCount: number): void {
    if (byteCount <= this.#requestCapacity) return;
    // The larger one first: a key stack that is too large does no harm when there is no room for the request itself.
    this.#move(THREAD.keyStack, byteCount * KEY_STACK_BYTES_PER_BODY_BYTE + 8);
    this.#move(THREAD.requestRegion, WORD_BYTES + byteCount + COPY_SLACK_BYTES);
    this.#placeRequest(0);
    this.#requestCapacity = byteCount;
  }

  /** For the msgpack of JSON requests; a thread that gets none has no such region. */
  reserveJson(byteCount: number): void {
    const capacity = Math.max(byteCount, JSON_BYTES_INITIAL);
    this.#move(THREAD.jsonLarge, JSON_CONTEXT_DEPTHS * Math.ceil(capacity / LIMITS.contextBytes) * 4);
    this.#move(THREAD.jsonMsgpack, Math.ceil(capacity * JSON_GROWTH) + JSON_GROWTH_END + COPY_SLACK_BYTES);
    this.#jsonCapacity = capacity;
  }

  /** Room for an answer four times as large. False: it has the most that an answer may have. */
  growAnswer(): boolean {
    if (this.#answerCapacity >= REQUEST_LIMITS.answerBytes) return false;
    this.#reserveAnswer(Math.min(this.#answerCapacity * 4, REQUEST_LIMITS.answerBytes));
    return true;
  }

  #reserveAnswer(byteCount: number): void {
    this.#move(THREAD.answer, byteCount + COPY_SLACK_BYTES);
    this.#memory.view.setUint32(this.address + THREAD.answerCapacity, byteCount, true);
    this.#answerAddress = this.read(THREAD.answer);
    this.#viewedBuffer = undefined;
    this.#answerCapacity = byteCount;
  }

  /** Makes room for the slots and flags of a snapshot that is about to be evaluated. */
  reserveSnapshot(slotCount: number, flagCount: number): void {
    if (slotCount > this.#slotCapacity) {
      this.#move(THREAD.slotStates, slotCount * SLOT_STATE.bytes);
      this.#slotCapacity = slotCount;
    }
    if (flagCount > this.#flagCapacity) {
      this.#move(THREAD.memos, flagCount * MEMO.bytes);
      this.#flagCapacity = flagCount;
    }
  }

  /** Starts counting contexts from 0 again: nothing may be left that carries an old stamp. */
  resetStamps(): void {
    const { bytes, view } = this.#memory;
    const slotStates = this.read(THREAD.slotStates);
    const memos = this.read(THREAD.memos);
    bytes.fill(0, slotStates, slotStates + this.#slotCapacity * SLOT_STATE.bytes);
    bytes.fill(0, memos, memos + this.#flagCapacity * MEMO.bytes);
    view.setUint32(this.address + THREAD.foldStamp, 0, true);
    view.setUint32(this.address + THREAD.stamp, 0, true);
  }

  /** Frees everything: the thread is gone. */
  free(): void {
    const memory = this.#memory;
    for (const field of REGIONS) {
      const address = this.read(field);
      if (address !== 0) memory.free(address);
    }
    memory.free(this.address);
  }

  /** Replaces a region by a larger one. The new one is taken first, so that nothing changes when the memory is full. */
  #move(field: number, byteCount: number): void {
    const memory = this.#memory;
    const before = this.read(field);
    const address = memory.allocate(byteCount);
    if (!SCRATCH.has(field)) memory.bytes.fill(0, address, address + byteCount);
    memory.view.setUint32(this.address + field, address, true);
    if (before !== 0) memory.free(before);
  }
}
