/** The busiest have series of their own; all others together are `other`, which is no id of an environment's. */
export const LABELLED_ENVIRONMENTS_MAX = 100;
export const OTHER = 'other';

interface Counted {
  readonly environmentId: string;
  /** Since the environment came. */
  readonly count: number;
}

interface Known {
  count: number;
  /** In which it was last counted. */
  round: number;
}

/** One that could take a place. */
interface Waiting extends Counted {
  /** Where its series would begin. */
  readonly from: number;
}

/**
 * Which environments the metrics name. A place is taken over only by an environment that is twice as busy, so series stay. A series
 * begins at 0 when its environment takes the place, what came before stays with `other`, as does what an environment has that loses its
 * place or is removed: so every sum only grows, and all of them together are the whole.
 *
 * A round is `begin`, `add` for each environment once, `end`; whoever has thousands of them may do something else between two `add`.
 */
export class LabelledEnvironments {
  /** By environment: its count when it took its place. */
  readonly #places = new Map<string, number>();
  readonly #known = new Map<string, Known>();
  /** Of environments that are gone. */
  #removedCount = 0;
  #round = 0;
  #addedCount = 0;
  #sum = 0;
  /** The busiest without a place, falling: no more than there are places can take one. */
  #waiting: Waiting[] = [];

  begin(): void {
    this.#round += 1;
    this.#addedCount = 0;
    this.#sum = 0;
    this.#waiting = [];
  }

  /** `count` is that of now. */
  add(environmentId: string, count: number): void {
    const known = this.#known.get(environmentId);
    if (known === undefined) this.#known.set(environmentId, { count, round: this.#round });
    else {
      // One that was removed and came back meanwhile counts from 0 again.
      if (count < known.count) this.#remove(environmentId, known.count);
      known.count = count;
      known.round = this.#round;
    }
    this.#addedCount += 1;
    this.#sum += count;
    // One that is new was never part of the others.
    if (!this.#places.has(environmentId)) this.#wait({ environmentId, count, from: known === undefined ? 0 : count });
  }

  end(): { readonly labelled: readonly Counted[]; readonly otherCount: number } {
    if (this.#known.size > this.#addedCount) this.#removeUncounted();
    this.#assignPlaces();
    let otherCount = this.#sum + this.#removedCount;
    const labelled = [...this.#places].map(([environmentId, from]) => {
      const count = this.#countOf(environmentId) - from;
      otherCount -= count;
      return { environmentId, count };
    });
    return { labelled, otherCount };
  }

  #remove(environmentId: string, count: number): void {
    this.#removedCount += count;
    this.#places.delete(environmentId);
  }

  #removeUncounted(): void {
    for (const [environmentId, { count, round }] of this.#known) {
      if (round === this.#round) continue;
      this.#remove(environmentId, count);
      this.#known.delete(environmentId);
    }
  }

  #wait(candidate: Waiting): void {
    const waiting = this.#waiting;
    const isFull = waiting.length >= LABELLED_ENVIRONMENTS_MAX;
    if (isFull && candidate.count <= (waiting.at(-1)?.count ?? 0)) return;
    const index = waiting.findIndex(({ count }) => count < candidate.count);
    waiting.splice(index < 0 ? waiting.length : index, 0, candidate);
    if (isFull) waiting.pop();
  }

  #assignPlaces(): void {
    if (this.#waiting.length === 0) return;
    const idlest = [...this.#places.keys()].sort((a, b) => this.#countOf(a) - this.#countOf(b));
    for (const { environmentId, count, from } of this.#waiting) {
      if (this.#places.size >= LABELLED_ENVIRONMENTS_MAX) {
        const [place] = idlest;
        if (place === undefined || count <= 2 * this.#countOf(place)) return;
        idlest.shift();
        this.#places.delete(place);
      }
      this.#places.set(environmentId, from);
    }
  }

  #countOf(environmentId: string): number {
    return this.#known.get(environmentId)?.count ?? 0;
  }
}
