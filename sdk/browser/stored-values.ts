import type { Bootstrap, EvaluatedFlag } from './browser-client.js';

/** `localStorage`, or anything with these three. */
export type ValueStorage = Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>;

const INDEX_NAME = 'guidon';
/** Contexts whose values are kept; the one saved longest ago goes. */
const CONTEXT_COUNT_MAX = 8;
const TEXT_CHARS_MAX = 512 * 1024;
const AGE_MS_MAX = 30 * 24 * 3_600_000;

/**
 * The last values of one context in storage, for the next time the page is opened.
 *
 *   guidon          [name…], saved last first
 *   guidon:<name>   {at: epoch ms, epoch?, revision, results}
 *
 * Storage that is full, forbidden or damaged is as good as none.
 */
export class StoredValues {
  readonly #storage: ValueStorage;
  readonly #name: string;

  constructor(storage: ValueStorage, name: string) {
    this.#storage = storage;
    this.#name = name;
  }

  find(): Bootstrap | undefined {
    try {
      const stored: Partial<Bootstrap & { at: number }> | null = JSON.parse(
        this.#storage.getItem(`${INDEX_NAME}:${this.#name}`) ?? 'null',
      );
      if (stored === null || !Array.isArray(stored.results) || typeof stored.revision !== 'number') return undefined;
      const { at = 0, epoch, revision, results } = stored;
      if (Date.now() - at > AGE_MS_MAX || !results.every(isResult)) return undefined;
      return { ...(typeof epoch === 'number' ? { epoch } : {}), revision, results };
    } catch {
      return undefined;
    }
  }

  save(values: Bootstrap): void {
    const text = JSON.stringify({ at: Date.now(), ...values });
    if (text.length > TEXT_CHARS_MAX) return;
    try {
      const names = [this.#name, ...this.#index().filter((name) => name !== this.#name)];
      for (const name of names.splice(CONTEXT_COUNT_MAX)) this.#storage.removeItem(`${INDEX_NAME}:${name}`);
      this.#storage.setItem(INDEX_NAME, JSON.stringify(names));
      this.#storage.setItem(`${INDEX_NAME}:${this.#name}`, text);
    } catch {
      // Full, or forbidden: the next page starts without.
    }
  }

  #index(): string[] {
    try {
      const names: unknown = JSON.parse(this.#storage.getItem(INDEX_NAME) ?? '[]');
      return Array.isArray(names) ? names.filter((name) => typeof name === 'string') : [];
    } catch {
      return [];
    }
  }
}

/** What is read of a result must be there, whoever wrote it. */
export function isResult(value: unknown): value is EvaluatedFlag {
  return (
    typeof value === 'object' &&
    value !== null &&
    'flag' in value &&
    typeof value.flag === 'string' &&
    // A failed evaluation has none.
    ('value' in value || 'errorCode' in value) &&
    'reason' in value &&
    typeof value.reason === 'string'
  );
}
