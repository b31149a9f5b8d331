import type { Json } from '@guidon/protocol';
import { type AttributePath, findAtPath, isTargetingKeyPath, parseAttributePath } from '../evaluate/attribute-path.js';
import { ownMember } from '../evaluate/context.js';
import type { Run } from './run.js';
import { Subject, type ValueNumbers } from './subject.js';

/** So many different values of `in` clauses get a number per slot: they are bits of a mask. First come, first served. */
export const VALUE_NUMBER_MAX = 30;

/**
 * One place a context can hold a value, shared by all clauses and rollouts that read it. Read when the first of them asks, once per
 * context. Keeps the last value it read until the next context is evaluated.
 */
export class AttributeSlot implements ValueNumbers {
  readonly #contextKind: string;
  readonly #path: AttributePath;
  readonly #name: string;
  readonly #source: 'member' | 'path' | 'now' | 'kinds' | 'nowhere';
  readonly #isTargetingKey: boolean;
  readonly #subject = new Subject();
  readonly #valueNumbers = new Map<unknown, number>();
  /** The evaluation whose value `#subject` holds. */
  #generation = 0;

  constructor(contextKind: string, attribute: string) {
    this.#contextKind = contextKind;
    this.#path = parseAttributePath(attribute) ?? [];
    this.#name = this.#path[0] ?? '';
    this.#isTargetingKey = isTargetingKeyPath(this.#path);
    this.#source = sourceOf(attribute, this.#path);
  }

  /** The number of a value that a clause names, from 1 on; a new one as long as there are any, then Infinity. */
  numberOf(value: Json): number {
    const known = this.#valueNumbers.get(value);
    if (known !== undefined) return known;
    if (this.#valueNumbers.size === VALUE_NUMBER_MAX) return Number.POSITIVE_INFINITY;
    const number = this.#valueNumbers.size + 1;
    this.#valueNumbers.set(value, number);
    return number;
  }

  /** 0 for a value that has no number. */
  findNumber(value: unknown): number {
    return this.#valueNumbers.get(value) ?? 0;
  }

  read(run: Run): Subject {
    if (this.#generation !== run.generation) {
      this.#generation = run.generation;
      this.#subject.set(this.#tryFind(run));
    }
    return this.#subject;
  }

  /** All reading of a context beyond `Run.begin` happens in here: an accessor or a proxy of the caller may throw. */
  #tryFind(run: Run): unknown {
    try {
      const value = this.#find(run);
      return Array.isArray(value) ? [...value] : value;
    } catch {
      run.abandon();
      return undefined;
    }
  }

  #find(run: Run): unknown {
    if (this.#source === 'now') return run.now;
    if (this.#source === 'kinds') return run.kinds();
    const object = run.objectOf(this.#contextKind);
    if (object === undefined || this.#source === 'nowhere') return undefined;
    const value = this.#source === 'member' ? ownMember(object, this.#name) : findAtPath(object, this.#path);
    if (value === null || (value === '' && this.#isTargetingKey)) return undefined;
    return typeof value === 'bigint' ? Number(value) : value;
  }
}

/** The member `kind` is no attribute: clauses ask for the context's kinds instead, and nothing lies below it. */
function sourceOf(attribute: string, path: AttributePath): 'member' | 'path' | 'now' | 'kinds' | 'nowhere' {
  if (attribute === '@now') return 'now';
  const [first] = path;
  if (first === undefined) return 'nowhere';
  if (first === 'kind') return path.length === 1 ? 'kinds' : 'nowhere';
  return path.length === 1 ? 'member' : 'path';
}
