import type { KeyRange, StoreKey } from './keys.js';

/** A row as a write leaves it; `bytes` undefined = removed. */
export interface StagedRow {
  readonly key: StoreKey;
  /** `nameOf` the key: what rows are told apart by. */
  readonly name: string;
  readonly bytes: Buffer | undefined;
}

/** Key parts that every list names at least: two of what a row belongs to, and its noun. */
const GROUP_PARTS = 3;

/** Rows written but not committed, the newest form of each. Grouped by the start of their keys, so that a list looks at its own noun alone. */
export class StagedRows {
  readonly #groups = new Map<string, Map<string, StagedRow>>();

  find(key: StoreKey): StagedRow | undefined {
    return this.#groups.get(groupOf(key))?.get(nameOf(key));
  }

  set(row: StagedRow): void {
    const group = groupOf(row.key);
    const rows = this.#groups.get(group);
    if (rows === undefined) this.#groups.set(group, new Map([[row.name, row]]));
    else rows.set(row.name, row);
  }

  /** Takes the row out again, unless it has been written anew since. */
  delete(row: StagedRow): void {
    const group = groupOf(row.key);
    const rows = this.#groups.get(group);
    if (rows?.get(row.name) !== row) return;
    rows.delete(row.name);
    if (rows.size === 0) this.#groups.delete(group);
  }

  clear(): void {
    this.#groups.clear();
  }

  *[Symbol.iterator](): Generator<StagedRow> {
    for (const rows of this.#groups.values()) yield* rows.values();
  }

  /** Rows of a range, in no order. */
  within({ prefix }: KeyRange): StagedRow[] {
    const rows = prefix.length < GROUP_PARTS ? this : (this.#groups.get(groupOf(prefix))?.values() ?? []);
    return [...rows].filter(({ key }) => prefix.every((part, index) => key[index] === part));
  }
}

/** The key as text. A number and its digits are not the same part. */
export function nameOf(key: StoreKey): string {
  return JSON.stringify(key);
}

function groupOf([owner, place, noun]: StoreKey): string {
  return `${owner}\0${place}\0${noun}`;
}
