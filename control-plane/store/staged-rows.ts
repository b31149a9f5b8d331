import type { KeyRange, StoreKey } from './keys.js';

/** A row as a write leaves it; `bytes` undefined = removed. */
export interface StagedRow {
  readonly key: StoreKey;
  readonly bytes: Buffer | undefined;
}

/** Key parts that every list names at least: two of what a row belongs to, and its noun. */
const GROUP_PARTS = 3;

/** Rows written but not committed, the newest form of each. Grouped by the start of their keys, so that a list looks at its own noun alone. */
export class StagedRows {
  readonly #groups = new Map<string, Map<string, StagedRow>>();
  #count = 0;

  get count(): number {
    return this.#count;
  }

  find(key: StoreKey): StagedRow | undefined {
    return this.#groups.get(groupOf(key))?.get(JSON.stringify(key));
  }

  set(row: StagedRow): void {
    const name = groupOf(row.key);
    let group = this.#groups.get(name);
    if (group === undefined) {
      group = new Map();
      this.#groups.set(name, group);
    }
    const text = JSON.stringify(row.key);
    if (!group.has(text)) this.#count += 1;
    group.set(text, row);
  }

  /** Takes the row out again, unless it has been written anew since. */
  delete(row: StagedRow): void {
    const name = groupOf(row.key);
    const group = this.#groups.get(name);
    const text = JSON.stringify(row.key);
    if (group === undefined || group.get(text) !== row) return;
    group.delete(text);
    this.#count -= 1;
    if (group.size === 0) this.#groups.delete(name);
  }

  clear(): void {
    this.#groups.clear();
    this.#count = 0;
  }

  *[Symbol.iterator](): Generator<StagedRow> {
    for (const group of this.#groups.values()) yield* group.values();
  }

  /** Rows of a range, in no order. */
  within({ prefix }: KeyRange): StagedRow[] {
    const rows = prefix.length < GROUP_PARTS ? this : (this.#groups.get(groupOf(prefix))?.values() ?? []);
    return [...rows].filter(({ key }) => prefix.every((part, index) => key[index] === part));
  }
}

function groupOf(key: StoreKey): string {
  return JSON.stringify(key.slice(0, GROUP_PARTS));
}
