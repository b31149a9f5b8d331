import { REGEX_FUEL } from '@guidon/protocol';
import { hashText } from '../evaluate/bucket.js';
import { foldCase } from '../evaluate/case-folding.js';
import { type IpAddress, parseIpAddress } from '../evaluate/cidr.js';
import { parseDateTime } from '../evaluate/date-time.js';
import { cutRegexInput } from '../evaluate/regex.js';
import { parseSemver, type Semver } from '../evaluate/semver.js';
import { toScalarText, utf8Bytes } from '../flag-model/text.js';

/** A version; `rank` orders it where it is not negative. */
export interface Version {
  readonly rank: number;
  readonly version: Semver;
}

/** Gives each value that few-valued `in` clauses name a number from 1 on, and every other 0. */
export interface ValueNumbers {
  findNumber(value: unknown): number;
}

/** A text of so many UTF-16 units has at most 63 UTF-8 bytes, so it costs one unit of fuel. */
const ONE_UNIT_LENGTH = 21;
const UNIT_BYTES = 64;
/** ASCII texts up to this length are kept as words to hash; longer ones are hashed from their text each time. */
const WORD_BYTES_MAX = 64;

/** The rank of a text that may be a version, but not one that a number can stand for; of what is no text. */
export const RANK_INEXACT = -1;
export const RANK_NONE = -2;
/** Versions with a part from here on have no rank: three parts have to fit a double. */
const PART_LIMIT = 100_000;

/** Members of a subject that are of its present value. */
const KNOWN = { version: 1, instant: 2, address: 4, folded: 8, textHash: 16, words: 32 } as const;
const UNKNOWN = -3;

/**
 * One value that clauses test, and what has been worked out about it. Set once per context; each form (version, instant, address …) is
 * made when the first clause asks and then serves all flags of that context.
 */
export class Subject {
  /** Undefined when missing. */
  value: unknown = undefined;
  #known = 0;
  /** These four are UNKNOWN, rather than bits of `#known`, because W3 asks for them all the time. */
  #units = UNKNOWN;
  #rank = UNKNOWN;
  #number = UNKNOWN;
  #version: Semver | undefined = undefined;
  #instant: number = Number.NaN;
  #address: IpAddress | undefined = undefined;
  #folded = '';
  #textHash = 0;
  #wordBytes = 0;
  /** Little-endian, filled up with zeros, and one word of zeros behind the text. Made for the first value that is hashed. */
  #words: Int32Array | undefined = undefined;

  set(value: unknown): void {
    this.value = value;
    this.#known = 0;
    this.#units = UNKNOWN;
    this.#rank = UNKNOWN;
    this.#number = UNKNOWN;
  }

  /** What looking at the value costs: docs/evaluation.md. */
  get units(): number {
    if (this.#units === UNKNOWN) this.#units = unitsOf(this.value);
    return this.#units;
  }

  /** What a regular expression over the value costs. */
  get regexUnits(): number {
    if (typeof this.value !== 'string') return 0;
    return REGEX_FUEL * (1 + Math.floor(cutRegexInput(this.value).byteCount / UNIT_BYTES));
  }

  /** What a regular expression sees; undefined when the value is no text. */
  get regexInput(): string | undefined {
    return typeof this.value === 'string' ? toScalarText(cutRegexInput(this.value).input) : undefined;
  }

  /** Of an element of an array too: `slot` is the one that the array was read from. */
  numberIn(slot: ValueNumbers): number {
    if (this.#number === UNKNOWN) this.#number = slot.findNumber(this.value);
    return this.#number;
  }

  /** NaN when the value is no finite number. */
  get finite(): number {
    return typeof this.value === 'number' && Number.isFinite(this.value) ? this.value : Number.NaN;
  }

  /** A number that orders plain versions (parts below PART_LIMIT, no prerelease), or RANK_INEXACT or RANK_NONE. */
  get rank(): number {
    if (this.#rank === UNKNOWN) this.#rank = typeof this.value === 'string' ? rankOf(this.value) : RANK_NONE;
    return this.#rank;
  }

  get version(): Semver | undefined {
    if ((this.#known & KNOWN.version) === 0) {
      this.#version = typeof this.value === 'string' ? parseSemver(this.value) : undefined;
      this.#known |= KNOWN.version;
    }
    return this.#version;
  }

  /** Epoch milliseconds; NaN when the value is no instant. */
  get instant(): number {
    if ((this.#known & KNOWN.instant) === 0) {
      this.#instant = instantOf(this.value) ?? Number.NaN;
      this.#known |= KNOWN.instant;
    }
    return this.#instant;
  }

  get address(): IpAddress | undefined {
    if ((this.#known & KNOWN.address) === 0) {
      this.#address = typeof this.value === 'string' ? parseIpAddress(this.value) : undefined;
      this.#known |= KNOWN.address;
    }
    return this.#address;
  }

  /** Case-folded text; undefined when the value is no text. */
  get folded(): string | undefined {
    if (typeof this.value !== 'string') return undefined;
    if ((this.#known & KNOWN.folded) === 0) {
      this.#folded = foldCase(this.value);
      this.#known |= KNOWN.folded;
    }
    return this.#folded;
  }

  /** `hashText` of a text, by which segments list keys. */
  textHashOf(text: string): number {
    if ((this.#known & KNOWN.textHash) === 0) {
      this.#textHash = hashText(text);
      this.#known |= KNOWN.textHash;
    }
    return this.#textHash;
  }

  /** What a rollout hashes: a text as it is, an integer in decimals; undefined for anything else, which counts as missing. */
  get bucketedText(): string | undefined {
    const { value } = this;
    if (typeof value === 'string') return value;
    return Number.isSafeInteger(value) ? String(value) : undefined;
  }

  /** The UTF-8 bytes of `text` (the bucketed one) as words; undefined when it is not ASCII or too long. */
  wordsOf(text: string): Int32Array | undefined {
    if ((this.#known & KNOWN.words) === 0) {
      this.#words ??= new Int32Array(WORD_BYTES_MAX / 4 + 2);
      this.#wordBytes = fillWords(this.#words, text);
      this.#known |= KNOWN.words;
    }
    return this.#wordBytes < 0 ? undefined : this.#words;
  }
}

function unitsOf(value: unknown): number {
  if (typeof value !== 'string' || value.length <= ONE_UNIT_LENGTH) return 1;
  return 1 + Math.floor(utf8Bytes(value) / UNIT_BYTES);
}

/** Returns the number of bytes, or -1 when `text` is not ASCII or too long. */
function fillWords(words: Int32Array, text: string): number {
  const { length } = text;
  if (length > WORD_BYTES_MAX) return -1;
  let word = 0;
  for (let index = 0; index < length; index++) {
    const unit = text.charCodeAt(index);
    if (unit > 0x7f) return -1;
    word |= unit << ((index & 3) * 8);
    if ((index & 3) === 3) {
      words[index >> 2] = word;
      word = 0;
    }
  }
  words[length >> 2] = word;
  words[(length >> 2) + 1] = 0;
  return length;
}

/** Epoch milliseconds of an RFC 3339 text or of a finite number. */
export function instantOf(value: unknown): number | undefined {
  if (typeof value === 'string') return parseDateTime(value);
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}

/** Versions that are `N[.N[.N]]` with parts below PART_LIMIT become one exact integer below 1e15 without being split. */
export function rankOf(text: string): number {
  let rank = 0;
  let part = -1;
  let partCount = 1;
  for (let index = 0; index < text.length; index++) {
    const digit = text.charCodeAt(index) - 48;
    if (digit >= 0 && digit <= 9 && part !== 0) {
      part = part < 0 ? digit : part * 10 + digit;
      if (part >= PART_LIMIT) return RANK_INEXACT;
    } else if (digit === -2 && part >= 0 && partCount < 3) {
      rank = rank * PART_LIMIT + part;
      part = -1;
      partCount++;
    } else {
      return RANK_INEXACT;
    }
  }
  if (part < 0) return RANK_INEXACT;
  rank = rank * PART_LIMIT + part;
  for (; partCount < 3; partCount++) rank *= PART_LIMIT;
  return rank;
}
