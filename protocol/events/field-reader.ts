import type { RefusedEvent } from './event.js';

/** What is wrong with one event; never leaves the parser. */
export class EventFault extends Error {
  readonly code: RefusedEvent['code'];
  readonly pointer: string;

  constructor(pointer: string, detail: string, code: RefusedEvent['code'] = 'validation-failed') {
    super(detail);
    this.code = code;
    this.pointer = pointer;
  }
}

/** Reads an object member by member and throws EventFault, which names the place. `done` refuses members that nobody read. */
export class FieldReader {
  readonly pointer: string;
  readonly #members: ReadonlyMap<string, unknown>;
  readonly #read = new Set<string>();

  constructor(value: unknown, pointer: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new EventFault(pointer, 'must be an object');
    }
    this.pointer = pointer;
    this.#members = new Map(Object.entries(value));
  }

  get names(): readonly string[] {
    return [...this.#members.keys()];
  }

  pointerOf(name: string): string {
    return `${this.pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
  }

  has(name: string): boolean {
    return this.#members.has(name);
  }

  value(name: string): unknown {
    this.#read.add(name);
    return this.#members.get(name);
  }

  text(name: string, charsMax: number): string {
    const value = this.value(name);
    if (typeof value !== 'string' || value === '') throw this.fault(name, 'must be a string that is not empty');
    if (value.length > charsMax) throw this.fault(name, `may have ${charsMax} characters`, 'limit-exceeded');
    if (!value.isWellFormed()) throw this.fault(name, 'must be well-formed Unicode');
    return value;
  }

  matching(name: string, pattern: RegExp, words: string): string {
    const value = this.value(name);
    if (typeof value === 'string' && pattern.test(value)) return value;
    throw this.fault(name, `must be ${words}`);
  }

  whole(name: string, min: number, max: number): number {
    const value = this.value(name);
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max) return value;
    throw this.fault(name, `must be a whole number from ${min} to ${max}`);
  }

  list(name: string, countMax: number): readonly unknown[] {
    const value = this.value(name);
    if (!Array.isArray(value)) throw this.fault(name, 'must be an array');
    if (value.length > countMax) throw this.fault(name, `may have ${countMax} entries`, 'limit-exceeded');
    return value;
  }

  /** `{[name]: value}` when the member is there, else nothing of it: for optional members. */
  optional<Name extends string, Value>(name: Name, read: (name: Name) => Value): { readonly [Key in Name]?: Value } {
    return this.has(name) ? ({ [name]: read(name) } as { [Key in Name]: Value }) : {};
  }

  fault(name: string, detail: string, code?: RefusedEvent['code']): EventFault {
    return new EventFault(this.pointerOf(name), detail, code);
  }

  done(): void {
    for (const name of this.#members.keys()) if (!this.#read.has(name)) throw this.fault(name, 'is not known here');
  }
}
