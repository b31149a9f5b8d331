import type { ErrorCode, Issue } from '@guidon/protocol';
import { toScalarText } from './text.js';

/** What parsing an unknown value gives: the typed value, or everything wrong with it (at most ISSUE_COUNT_MAX issues). */
export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly issues: Issue[] };

/** A definition may be wrong in a million places; nobody reads more than these. */
export const ISSUE_COUNT_MAX = 100;

/** An unknown member's name may be megabytes long; a pointer shows this much of it. */
const POINTER_NAME_UNITS_MAX = 128;

export class Issues {
  readonly list: Issue[] = [];

  add(pointer: string, code: ErrorCode, detail: string): void {
    if (this.list.length < ISSUE_COUNT_MAX) this.list.push({ pointer, code, detail });
  }

  /** `value` is undefined only where an issue was added. */
  finish<T>(value: T | undefined): Parsed<T> {
    if (this.list.length > 0) return { ok: false, issues: this.list };
    if (value === undefined) throw new Error('a value that does not parse must leave an issue');
    return { ok: true, value };
  }
}

/** `pointer` plus one reference token (RFC 6901). */
export function pointerTo(pointer: string, name: string | number): string {
  if (typeof name === 'number') return `${pointer}/${name}`;
  const shown = name.length > POINTER_NAME_UNITS_MAX ? `${name.slice(0, POINTER_NAME_UNITS_MAX)}…` : name;
  return `${pointer}/${toScalarText(shown).replaceAll('~', '~0').replaceAll('/', '~1')}`;
}

/** A plain object as a decoder makes it: no array, Date, Map or class instance. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/**
 * One place of an unknown value. Each `as…` answers the typed value, or undefined after adding an issue; parsing goes on after
 * that, so that all issues come back at once.
 */
export class Input {
  readonly value: unknown;
  readonly pointer: string;
  readonly issues: Issues;

  constructor(value: unknown, pointer: string, issues: Issues) {
    this.value = value;
    this.pointer = pointer;
    this.issues = issues;
  }

  fail(code: ErrorCode, detail: string): undefined {
    this.issues.add(this.pointer, code, detail);
    return undefined;
  }

  asBoolean(): boolean | undefined {
    return typeof this.value === 'boolean' ? this.value : this.fail('validation-failed', 'must be true or false');
  }

  asString(): string | undefined {
    if (typeof this.value !== 'string') return this.fail('validation-failed', 'must be a string');
    if (toScalarText(this.value) !== this.value) return this.fail('validation-failed', 'holds a lone surrogate');
    return this.value;
  }

  asInteger(min: number, max: number): number | undefined {
    const { value } = this;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
      return this.fail('validation-failed', `must be an integer from ${min} to ${max}`);
    }
    return value + 0; // -0 becomes 0
  }

  asMatching(pattern: RegExp, what: string): string | undefined {
    const text = this.asString();
    if (text === undefined) return undefined;
    return pattern.test(text) ? text : this.fail('validation-failed', `${what} must match ${pattern.source}`);
  }

  asOneOf<const T extends string>(allowed: readonly T[]): T | undefined {
    const found = allowed.find((candidate) => candidate === this.value);
    return found ?? this.fail('validation-failed', `must be one of ${allowed.join(', ')}`);
  }

  /** More than `countMax` elements is `limit-exceeded`, and none of them is looked at. */
  asArray(countMax: number): readonly unknown[] | undefined {
    if (!Array.isArray(this.value)) return this.fail('validation-failed', 'must be an array');
    if (this.value.length > countMax) return this.fail('limit-exceeded', `must have at most ${countMax} elements`);
    return this.value;
  }

  /** All elements through `parse`, or undefined when one of them does not parse. */
  asList<T>(countMax: number, parse: (element: Input) => T | undefined): T[] | undefined {
    const elements = this.asArray(countMax);
    if (elements === undefined) return undefined;
    const parsed: T[] = [];
    for (const [index, element] of elements.entries()) {
      const value = parse(new Input(element, pointerTo(this.pointer, index), this.issues));
      if (value !== undefined) parsed.push(value);
    }
    return parsed.length === elements.length ? parsed : undefined;
  }

  /** An object with members of these names only. */
  asObject(names: readonly string[]): ObjectInput | undefined {
    const { value } = this;
    if (!isPlainObject(value)) return this.fail('validation-failed', 'must be an object');
    for (const name of Object.keys(value)) {
      if (!names.includes(name)) this.issues.add(pointerTo(this.pointer, name), 'validation-failed', 'unknown member');
    }
    return new ObjectInput(value, this.pointer, this.issues);
  }
}

/** Reads members that are the object's own: a member named `constructor` or `__proto__` is a name like any other. */
export class ObjectInput {
  readonly #value: Record<string, unknown>;
  readonly #pointer: string;
  readonly #issues: Issues;

  constructor(value: Record<string, unknown>, pointer: string, issues: Issues) {
    this.#value = value;
    this.#pointer = pointer;
    this.#issues = issues;
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#value, name) && this.#value[name] !== undefined;
  }

  /** Absent is an issue. */
  read<T>(name: string, parse: (input: Input) => T | undefined): T | undefined {
    if (this.has(name)) return parse(this.#input(name));
    this.#issues.add(pointerTo(this.#pointer, name), 'validation-failed', 'is required');
    return undefined;
  }

  /** Absent is undefined, without an issue. */
  readOptional<T>(name: string, parse: (input: Input) => T | undefined): T | undefined {
    return this.has(name) ? parse(this.#input(name)) : undefined;
  }

  #input(name: string): Input {
    return new Input(this.#value[name], pointerTo(this.#pointer, name), this.#issues);
  }
}
