import { PlatformError } from '@guidon/protocol';
import type { KeyRange } from './keys.js';
import { lastPart } from './keys.js';
import { nameOf } from './staged-rows.js';
import type { StoreReader } from './store-reader.js';

/** Ranges whose spellings are known; the one looked at longest ago is read again when it is needed. */
const RANGES_MAX = 256;
/** Spellings of all ranges but the newest together. */
const SPELLINGS_MAX = 1_000_000;

/**
 * Refuses keys that differ from one that is there in case alone: people take `Checkout` and `checkout` for one thing. Keys of a range are read
 * once, when the first is added; from then on every key that may have been added is known here. One that has gone, or never came, is told by
 * asking the store, so nobody has to keep this right.
 */
export class KeySpellings {
  /** By range, then by the key in small letters. The range looked at last is the last one. */
  readonly #known = new Map<string, Map<string, Set<string>>>();
  #count = 0;

  /** Called by the plan that adds `key`, with everything else that adds to this range held off. `isThere` asks the store for one key. */
  assertFree(store: StoreReader, range: KeyRange, key: string, isThere: (key: string) => boolean): void {
    const spellings = this.#spellingsOf(store, range);
    const small = key.toLowerCase();
    const others = spellings.get(small) ?? new Set();
    for (const other of others) {
      if (other === key || !isThere(other)) continue;
      const detail = `it differs from the key ${other} in case alone`;
      const issue = { pointer: '/key', code: 'validation-failed', detail } as const;
      throw new PlatformError('validation-failed', `/key: ${detail}`, { issues: [issue] });
    }
    if (others.has(key)) return;
    others.add(key);
    spellings.set(small, others);
    this.#count += 1;
  }

  #spellingsOf(store: StoreReader, range: KeyRange): Map<string, Set<string>> {
    const name = nameOf(range.prefix);
    const known = this.#known.get(name);
    const spellings = known ?? new Map<string, Set<string>>();
    if (known === undefined) {
      for (const { key } of store.list(range)) {
        const spelling = String(lastPart(key));
        const small = spelling.toLowerCase();
        const others = spellings.get(small) ?? new Set();
        spellings.set(small, others.add(spelling));
        this.#count += 1;
      }
    }
    this.#known.delete(name);
    this.#known.set(name, spellings);
    this.#bound();
    return spellings;
  }

  #bound(): void {
    for (const [name, spellings] of this.#known) {
      const isSmall = this.#known.size <= RANGES_MAX && this.#count <= SPELLINGS_MAX;
      if (isSmall || this.#known.size === 1) return;
      this.#known.delete(name);
      for (const others of spellings.values()) this.#count -= others.size;
    }
  }
}
