import type { KeyRange, StoreKey } from './keys.js';
import type { Row } from './row.js';

/** Key parts that every list names at least: two of what a row belongs to, and its noun. */
const GROUP_PARTS = 3;

/** Rows written but not committed, the newest form of each. Grouped by the start of their keys besides, so that a list looks at its own noun alone. */
export class StagedRows {
  readonly #byName = new Map<string, Row>();
  readonly #groups = new Map<string, Map<string, Row>>();

  find(name: string): Row | undefined {
    return this.#byName.get(name);
  }

  set(row: Row): void {
    row.group ||= nameOf(row.key, GROUP_PARTS);
    const rows = this.#groups.get(row.group);
    if (rows === undefined) this.#groups.set(row.group, new Map([[row.name, row]]));
    else rows.set(row.name, row);
    this.#byName.set(row.name, row);
  }

  /** Takes the row out again, unless it has been written anew since. */
  delete(row: Row): void {
    if (this.#byName.get(row.name) !== row) return;
    this.#byName.delete(row.name);
    const rows = this.#groups.get(row.group);
    rows?.delete(row.name);
    if (rows?.size === 0) this.#groups.delete(row.group);
  }

  clear(): void {
    this.#byName.clear();
    this.#groups.clear();
  }

  [Symbol.iterator](): IterableIterator<Row> {
    return this.#byName.values();
  }

  /** Rows of a range, in no order. */
  within({ prefix }: KeyRange): Row[] {
    const rows = prefix.length < GROUP_PARTS ? this : (this.#groups.get(nameOf(prefix, GROUP_PARTS))?.values() ?? []);
    const start = nameOf(prefix);
    return [...rows].filter(({ name }) => name.startsWith(start));
  }
}

/** The first parts of a key as text: what rows are told apart by. Parts hold no control characters, so a number is never its digits. */
export function nameOf(key: StoreKey, partCount: number = key.length): string {
  let name = '';
  for (let index = 0; index < partCount; index += 1) {
    const part = key[index] ?? '';
    name += typeof part === 'number' ? `\u0001${part}\0` : `${part}\0`;
  }
  return name;
}
