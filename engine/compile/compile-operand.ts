import { type Json, PlatformError } from '@guidon/protocol';
import { foldCase } from '../evaluate/case-folding.js';
import { parseCidrBlock } from '../evaluate/cidr.js';
import { parseDateTime } from '../evaluate/date-time.js';
import { parseSemver, type Semver } from '../evaluate/semver.js';
import type { Operator } from '../flag-model/definitions.js';
import type { ByteWriter } from './byte-writer.js';
import {
  CIDR,
  hashWords,
  IN,
  SEMVER,
  STRING_ENTRY,
  STRING_SET,
  STRING_SET_SCAN_MAX,
  TEXT,
  TEXT_NAIVE_BYTES,
} from './layout.js';
import { murmur3 } from './murmur3.js';

const encoder = new TextEncoder();

/** Appends the operand of a clause with its own `count` (see OPERAND in layout.ts) and returns its offset. */
export function writeOperand(writer: ByteWriter, op: Operator, values: readonly Json[]): number {
  switch (op) {
    case 'in':
      return writeIn(writer, values);
    case 'startsWith':
    case 'endsWith':
    case 'contains':
      return writeTexts(
        writer,
        op,
        values.map((value) => must(op, asText(value))),
      );
    case 'startsWithIgnoreCase':
    case 'endsWithIgnoreCase':
    case 'containsIgnoreCase':
      return writeTexts(
        writer,
        op,
        values.map((value) => foldCase(must(op, asText(value)))),
      );
    case 'lt':
    case 'lte':
    case 'gt':
    case 'gte':
      return writeNumbers(
        writer,
        values.map((value) => must(op, asNumber(value))),
      );
    case 'before':
    case 'after':
      return writeNumbers(
        writer,
        values.map((value) => must(op, instantOf(value))),
      );
    case 'semverEq':
    case 'semverLt':
    case 'semverLte':
    case 'semverGt':
    case 'semverGte':
      return writeSemvers(writer, op, values);
    case 'cidr':
      return writeCidrs(writer, values);
    case 'matches':
    case 'exists':
      return 0;
  }
}

/** Epoch ms of a value of `before` and `after`. */
export function instantOf(value: Json): number | undefined {
  return typeof value === 'string' ? parseDateTime(value) : asNumber(value);
}

/** Strings that are looked up by equality, without duplicates. */
export function writeStringSet(writer: ByteWriter, strings: readonly string[]): number {
  const distinct = [...new Set(strings)];
  const tableCount = distinct.length <= STRING_SET_SCAN_MAX ? 0 : powerOfTwoAbove(distinct.length * 1.5);
  const hashBytes = hashWords(distinct.length) * 4;
  const set = writer.reserve(STRING_SET.bytes + tableCount * 4 + hashBytes + distinct.length * STRING_ENTRY.bytes);
  writer.u32(set + STRING_SET.count, distinct.length);
  writer.u32(set + STRING_SET.tableCount, tableCount);
  const hashes = set + STRING_SET.table + tableCount * 4;
  const entries = hashes + hashBytes;
  const table = new Uint32Array(tableCount);
  for (const [index, text] of distinct.entries()) {
    const bytes = encoder.encode(text);
    const hash = murmur3(bytes);
    const entry = entries + index * STRING_ENTRY.bytes;
    writer.u32(hashes + index * 4, hash);
    writer.u32(entry + STRING_ENTRY.offset, writer.append(bytes));
    writer.u32(entry + STRING_ENTRY.length, bytes.length);
    if (tableCount > 0) insertIntoTable(table, hash, index + 1);
  }
  for (const [index, value] of table.entries()) writer.u32(set + STRING_SET.table + index * 4, value);
  return set;
}

/** Linear probing; the table is never full. */
export function insertIntoTable(table: Uint32Array, hash: number, value: number): void {
  const mask = table.length - 1;
  let at = hash & mask;
  while (table[at] !== 0) at = (at + 1) & mask;
  table[at] = value;
}

export function powerOfTwoAbove(count: number): number {
  let power = 1;
  while (power <= count) power *= 2;
  return power;
}

function writeIn(writer: ByteWriter, values: readonly Json[]): number {
  const strings: string[] = [];
  const numbers: number[] = [];
  let booleans = 0;
  for (const value of values) {
    if (typeof value === 'string') strings.push(value);
    // Adding 0 makes -0 the same as 0, which it equals.
    else if (typeof value === 'number') numbers.push(value + 0);
    else if (typeof value === 'boolean') booleans |= value ? 2 : 1;
    else refuse('in');
  }
  const operand = writer.reserve(IN.bytes);
  const distinct = [...new Set(numbers)].sort((a, b) => a - b);
  if (strings.length > 0) writer.u32(operand + IN.strings, writeStringSet(writer, strings));
  if (distinct.length > 0) writer.u32(operand + IN.numbers, writeNumbers(writer, distinct));
  writer.u32(operand + IN.numberCount, distinct.length);
  writer.u32(operand + IN.booleans, booleans);
  return operand;
}

function writeNumbers(writer: ByteWriter, numbers: readonly number[]): number {
  const offset = writer.reserve(numbers.length * 8, 8);
  for (const [index, number] of numbers.entries()) writer.f64(offset + index * 8, number);
  return offset;
}

function writeTexts(writer: ByteWriter, op: Operator, texts: readonly string[]): number {
  const table = writer.reserve(texts.length * TEXT.bytes);
  for (const [index, text] of texts.entries()) {
    const bytes = encoder.encode(text);
    const record = table + index * TEXT.bytes;
    writer.u32(record + TEXT.offset, writer.append(bytes));
    writer.u32(record + TEXT.length, bytes.length);
    // A search for a long needle could take length x input steps; KMP takes input + length.
    const needsFailure = op.startsWith('contains') && bytes.length > TEXT_NAIVE_BYTES;
    if (needsFailure) writer.u32(record + TEXT.failure, writeFailure(writer, bytes));
  }
  return table;
}

/** failure[i] = length of the longest proper prefix of the needle that is a suffix of its first i + 1 bytes. */
function writeFailure(writer: ByteWriter, needle: Uint8Array): number {
  const offset = writer.reserve(needle.length * 4);
  const failure = new Uint32Array(needle.length);
  let matched = 0;
  for (let index = 1; index < needle.length; index += 1) {
    while (matched > 0 && needle[index] !== needle[matched]) matched = failure[matched - 1] ?? 0;
    if (needle[index] === needle[matched]) matched += 1;
    failure[index] = matched;
    writer.u32(offset + index * 4, matched);
  }
  return offset;
}

const PACKED_PART_MAX = 2 ** 21;
const NOT_PACKED = 2n ** 64n - 1n;

/** `packed` of a SEMVER, undefined when the version does not fit. */
export function packSemver(version: Semver): bigint | undefined {
  const parts = version.numbers.map(Number);
  if (version.prerelease.length > 0 || parts.some((part) => part >= PACKED_PART_MAX)) return undefined;
  const [major = 0, minor = 0, patch = 0] = parts;
  return (BigInt(major) << 42n) | (BigInt(minor) << 21n) | BigInt(patch);
}

function writeSemvers(writer: ByteWriter, op: Operator, values: readonly Json[]): number {
  const table = writer.reserve(values.length * SEMVER.bytes, 8);
  for (const [index, value] of values.entries()) {
    const version = must(op, typeof value === 'string' ? parseSemver(value) : undefined);
    const record = table + index * SEMVER.bytes;
    writer.u64(record + SEMVER.packed, packSemver(version) ?? NOT_PACKED);
    for (const [part, text] of [...version.numbers, version.prerelease.join('.')].entries()) {
      const field = record + SEMVER.major + part * 8;
      writer.u32(field, writer.append(encoder.encode(text)));
      writer.u32(field + 4, text.length);
    }
  }
  return table;
}

function writeCidrs(writer: ByteWriter, values: readonly Json[]): number {
  const table = writer.reserve(values.length * CIDR.bytes);
  for (const [index, value] of values.entries()) {
    const block = must('cidr', typeof value === 'string' ? parseCidrBlock(value) : undefined);
    const record = table + index * CIDR.bytes;
    writer.u16(record + CIDR.family, block.address.length === 4 ? 4 : 6);
    writer.u16(record + CIDR.prefixBits, block.bits);
    for (const [position, byte] of block.address.entries()) {
      const bits = Math.min(8, Math.max(0, block.bits - position * 8));
      writer.u8(record + CIDR.address + position, byte & (0xff00 >> bits));
    }
  }
  return table;
}

export function asText(value: Json): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

export function asNumber(value: Json): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}

function must<T>(op: Operator, value: T | undefined): T {
  return value ?? refuse(op);
}

/** Parsing refuses such values already; a definition built by hand must not compile to something else. */
function refuse(op: Operator): never {
  throw new PlatformError('validation-failed', `a value is not one that \`${op}\` takes`);
}
