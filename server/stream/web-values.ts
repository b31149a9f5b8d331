import type { Position, StreamFormat } from '@guidon/protocol/live-updates';
import { Packr, Unpackr } from 'msgpackr';
import { MsgpackWalk } from './msgpack-walk.js';

const packr = new Packr({ useRecords: false, variableMapSize: true });
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' });
const MAP_OF_2 = Buffer.from([0x82]);
const PATCH = Buffer.from(packr.pack('patch'));
const PUT = Buffer.from(packr.pack('put'));

/** One evaluation of all visible flags, in the order of the kernel. */
interface Evaluated {
  readonly flags: readonly string[];
  /** Where each result lies in the answer. */
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
  readonly hashes: Float64Array;
  /** Results that say that there is no such flag. */
  readonly missing: ReadonlySet<number>;
}

/**
 * What a `web` stream was sent last: a hash of 53 bits per flag, so that ten thousand streams are held in memory and compared without decoding what
 * they evaluate to. Two values of one flag are taken for equal once in 2^53 changes.
 */
export class WebValues {
  /** `{context}` as msgpack: what is evaluated. */
  readonly body: Uint8Array;
  #flags: readonly string[] | undefined;
  #hashes: Float64Array = new Float64Array(0);

  constructor(body: Uint8Array) {
    this.body = body;
  }

  /** The client was sent a `put`. */
  get isSent(): boolean {
    return this.#flags !== undefined;
  }

  /**
   * The frame that takes the client from what it was sent last to `answer`, and remembers that it was sent; undefined when nothing differs. `answer`
   * is what the kernel says to an evaluate request for all flags. `shared`: the flags of another stream, to be held once.
   */
  frameTo(answer: Uint8Array, at: Position, format: StreamFormat, shared: SharedFlags): Uint8Array | undefined {
    const evaluated = evaluatedOf(answer, shared);
    const before = this.#flags;
    const { changed, removed } = this.#differences(evaluated);
    this.#flags = evaluated.flags;
    this.#hashes = evaluated.hashes;
    if (before !== undefined && changed.length === 0 && removed.length === 0) return undefined;
    const results = changed.map((index) => answer.subarray(evaluated.starts[index], evaluated.ends[index]));
    return encode(format, before === undefined ? 'put' : 'patch', at, removed, results);
  }

  /** `body` for some flags alone; `member` is the `flags` of the request. */
  bodyFor(member: Uint8Array): Uint8Array {
    // A map of one member becomes one of two.
    return Buffer.concat([MAP_OF_2, this.body.subarray(1), member]);
  }

  /**
   * As frameTo, of an answer for some flags: the others are as they were. 'unknown': flags have come or gone for this client, so that all have to be
   * evaluated.
   */
  partTo(
    answer: Uint8Array,
    at: Position,
    format: StreamFormat,
    shared: SharedFlags,
  ): Uint8Array | undefined | 'unknown' {
    const part = evaluatedOf(answer, NOT_SHARED);
    const changed: number[] = [];
    for (const [index, flag] of part.flags.entries()) {
      const place = shared.indexOf(this.#flags, flag);
      const isMissing = part.missing.has(index);
      if (place === -1 && isMissing) continue;
      if (place === undefined || place === -1 || isMissing) return 'unknown';
      if (this.#hashes[place] !== part.hashes[index]) changed.push(index);
    }
    if (changed.length === 0) return undefined;
    for (const index of changed) {
      const place = shared.indexOf(this.#flags, part.flags[index] ?? '') ?? -1;
      this.#hashes[place] = part.hashes[index] ?? 0;
    }
    const results = changed.map((index) => answer.subarray(part.starts[index], part.ends[index]));
    return encode(format, 'patch', at, [], results);
  }

  #differences(now: Evaluated): { changed: number[]; removed: string[] } {
    const changed: number[] = [];
    const flags = this.#flags;
    if (flags === now.flags) {
      for (let index = 0; index < now.flags.length; index += 1) {
        if (this.#hashes[index] !== now.hashes[index]) changed.push(index);
      }
      return { changed, removed: [] };
    }
    const before = new Map(flags?.map((flag, index) => [flag, this.#hashes[index]]));
    for (const [index, flag] of now.flags.entries()) {
      if (before.get(flag) !== now.hashes[index]) changed.push(index);
      before.delete(flag);
    }
    return { changed, removed: [...before.keys()] };
  }
}

/** The flags that the streams of one environment see, as one array for as long as they stay the same. */
export class SharedFlags {
  #flags: readonly string[] = [];
  #places: ReadonlyMap<string, number> | undefined;

  /** -1 when it is not among them; undefined when `flags` is not the array held. */
  indexOf(flags: readonly string[] | undefined, flag: string): number | undefined {
    if (flags !== this.#flags) return undefined;
    this.#places ??= new Map(this.#flags.map((held, index) => [held, index]));
    return this.#places.get(flag) ?? -1;
  }

  /** The array held already, when it has the same flags. */
  share(flags: readonly string[]): readonly string[] {
    const held = this.#flags;
    if (held.length === flags.length && held.every((flag, index) => flag === flags[index])) return held;
    this.#flags = flags;
    this.#places = undefined;
    return flags;
  }
}

const NOT_SHARED = { share: (flags: readonly string[]): readonly string[] => flags };

function evaluatedOf(answer: Uint8Array, shared: Pick<SharedFlags, 'share'>): Evaluated {
  const walk = new MsgpackWalk(answer);
  const memberCount = walk.enterMap();
  for (let member = 0; member < memberCount; member += 1) {
    if (walk.text() === 'results') return resultsAt(walk, answer, shared);
    walk.skip();
  }
  throw new Error('an answer for all flags has results');
}

/** The revision that an answer was evaluated on. */
export function revisionIn(answer: Uint8Array): number {
  const walk = new MsgpackWalk(answer);
  const memberCount = walk.enterMap();
  for (let member = 0; member < memberCount; member += 1) {
    const name = walk.text();
    const from = walk.offset;
    walk.skip();
    if (name === 'revision') return Number(unpackr.unpack(answer.slice(from, walk.offset)));
  }
  throw new Error('an answer has a revision');
}

function resultsAt(walk: MsgpackWalk, answer: Uint8Array, shared: Pick<SharedFlags, 'share'>): Evaluated {
  const count = walk.enterArray();
  const flags: string[] = [];
  const missing = new Set<number>();
  const [starts, ends, hashes] = [new Uint32Array(count), new Uint32Array(count), new Float64Array(count)];
  for (let index = 0; index < count; index += 1) {
    starts[index] = walk.offset;
    const memberCount = walk.enterMap();
    for (let member = 0; member < memberCount; member += 1) {
      const name = walk.text();
      if (name === 'flag') flags.push(walk.text());
      else if (name !== 'errorCode') walk.skip();
      else if (walk.text() === 'FLAG_NOT_FOUND') missing.add(index);
    }
    ends[index] = walk.offset;
    hashes[index] = hashOf(answer, starts[index] ?? 0, walk.offset);
  }
  return { flags: shared.share(flags), starts, ends, hashes, missing };
}

/** Two FNV-1a of 32 bits over different halves of each byte's way, 53 bits of them. */
function hashOf(bytes: Uint8Array, from: number, to: number): number {
  let low = 0x811c9dc5;
  let high = 0x01234567;
  for (let offset = from; offset < to; offset += 1) {
    const byte = bytes[offset] ?? 0;
    low = Math.imul(low ^ byte, 0x01000193);
    high = Math.imul(high ^ (byte + offset - from), 0x85ebca6b) ^ (high >>> 15);
  }
  return (low >>> 0) * 0x200000 + (high >>> 11);
}

function encode(
  format: StreamFormat,
  type: 'put' | 'patch',
  { epoch, revision }: Position,
  removed: readonly string[],
  results: readonly Uint8Array[],
): Uint8Array {
  if (format === 'json') {
    const values: unknown[] = results.map((bytes) => unpackr.unpack(bytes.slice()));
    return Buffer.from(JSON.stringify({ type, epoch, revision, removed, results: values }));
  }
  return Buffer.concat([
    MAP_OF_5_TYPE,
    type === 'put' ? PUT : PATCH,
    EPOCH,
    packr.pack(epoch),
    REVISION,
    packr.pack(revision),
    REMOVED,
    packr.pack(removed),
    RESULTS,
    arrayHead(results.length),
    ...results,
  ]);
}

const MAP_OF_5_TYPE = Buffer.concat([Buffer.from([0x85]), packr.pack('type')]);
const EPOCH = Buffer.from(packr.pack('epoch'));
const REVISION = Buffer.from(packr.pack('revision'));
const REMOVED = Buffer.from(packr.pack('removed'));
const RESULTS = Buffer.from(packr.pack('results'));

function arrayHead(count: number): Buffer {
  if (count < 16) return Buffer.from([0x90 | count]);
  const head = Buffer.from([0xdd, 0, 0, 0, 0]);
  head.writeUInt32BE(count, 1);
  return head;
}
