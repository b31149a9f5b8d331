/** The busiest have series of their own; all others together are `other`, which is no id of an environment's. */
export const LABELLED_ENVIRONMENTS_MAX = 100;
export const OTHER = 'other';

interface Counted {
  readonly environmentId: string;
  /** Since the environment came. */
  readonly count: number;
}

/**
 * Which environments the metrics name. A place is taken over only by an environment that is twice as busy, so series stay. A series
 * begins at 0 when its environment takes the place, what came before stays with `other`, as does what an environment has that loses its
 * place or is removed: so every sum only grows, and all of them together are the whole.
 */
export class LabelledEnvironments {
  /** By environment: its count when it took its place. */
  readonly #places = new Map<string, number>();
  #last = new Map<string, number>();
  /** Of environments that are gone. */
  #removedCount = 0;

  has(environmentId: string): boolean {
    return this.#places.has(environmentId);
  }

  /** Takes the counts of now. */
  update(counted: readonly Counted[]): { readonly labelled: readonly Counted[]; readonly otherCount: number } {
    const counts = new Map(counted.map(({ environmentId, count }) => [environmentId, count]));
    for (const [environmentId, count] of this.#last) {
      // One that was removed and came back meanwhile counts from 0 again.
      if ((counts.get(environmentId) ?? -1) >= count) continue;
      this.#removedCount += count;
      this.#places.delete(environmentId);
    }
    this.#assignPlaces(counts);
    this.#last = counts;
    let otherCount = this.#removedCount;
    for (const count of counts.values()) otherCount += count;
    const labelled = [...this.#places].map(([environmentId, from]) => {
      const count = (counts.get(environmentId) ?? 0) - from;
      otherCount -= count;
      return { environmentId, count };
    });
    return { labelled, otherCount };
  }

  #assignPlaces(counts: ReadonlyMap<string, number>): void {
    const waiting = [...counts].filter(([environmentId]) => !this.#places.has(environmentId));
    if (waiting.length === 0) return;
    waiting.sort((a, b) => b[1] - a[1]);
    const idlest = [...this.#places.keys()].sort((a, b) => (counts.get(a) ?? 0) - (counts.get(b) ?? 0));
    for (const [environmentId, count] of waiting) {
      if (this.#places.size >= LABELLED_ENVIRONMENTS_MAX) {
        const [place] = idlest;
        if (place === undefined || count <= 2 * (counts.get(place) ?? 0)) return;
        idlest.shift();
        this.#places.delete(place);
      }
      // One that is new was never part of the others.
      this.#places.set(environmentId, this.#last.has(environmentId) ? count : 0);
    }
  }
}
