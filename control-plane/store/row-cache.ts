import type { Row } from './row.js';

/** Stored bytes of the rows of one generation. Parsed they weigh some times that. */
const GENERATION_BYTES_MAX = 8 * 1024 * 1024;
/** A larger row is read again: it would push out too many others. */
const ROW_BYTES_MAX = 256 * 1024;

/**
 * Durable rows that were read or written lately, so that a write does not read and parse its neighbours again. Exact, because one process
 * writes the store: its owner puts every row here, or takes it out, in the same turn in which its commit is known to be durable (M1), and
 * clears it when a commit fails. Two generations: what is asked for moves to the young one, and when that is full the old one goes.
 */
export class RowCache {
  #young = new Map<string, Row>();
  #old = new Map<string, Row>();
  #youngBytes = 0;

  find(name: string): Row | undefined {
    const young = this.#young.get(name);
    if (young !== undefined) return young;
    const old = this.#old.get(name);
    if (old !== undefined) this.put(old);
    return old;
  }

  put(row: Row): void {
    this.delete(row.name);
    const bytes = row.stored?.length ?? 0;
    if (row.stored === undefined || bytes > ROW_BYTES_MAX) return;
    if (this.#youngBytes + bytes > GENERATION_BYTES_MAX) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#youngBytes = 0;
    }
    this.#young.set(row.name, row);
    this.#youngBytes += bytes;
  }

  delete(name: string): void {
    const young = this.#young.get(name);
    if (young !== undefined) {
      this.#young.delete(name);
      this.#youngBytes -= young.stored?.length ?? 0;
    }
    this.#old.delete(name);
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
    this.#youngBytes = 0;
  }
}
