import { LABELLED_ENVIRONMENTS_MAX, LabelledEnvironments } from '@guidon/server/metrics/labelled-environments.js';
import { describe, expect, it } from 'vitest';

type Counts = Record<string, number>;

const sumOf = (counts: Counts): number => Object.values(counts).reduce((sum, count) => sum + count, 0);

/** Updates, and checks what holds always: all together are the whole, and no series falls. */
class Watched {
  readonly #environments = new LabelledEnvironments();
  #before = new Map<string, number>();
  #removedCount = 0;
  #counts: Counts = {};

  update(counts: Counts): { readonly labels: Counts; readonly other: number } {
    for (const [id, count] of Object.entries(this.#counts)) if ((counts[id] ?? -1) < count) this.#removedCount += count;
    this.#counts = counts;
    this.#environments.begin();
    for (const [environmentId, count] of Object.entries(counts)) this.#environments.add(environmentId, count);
    const { labelled, otherCount } = this.#environments.end();
    const labels = Object.fromEntries(labelled.map(({ environmentId, count }) => [environmentId, count]));
    expect(sumOf(labels) + otherCount).toBe(sumOf(counts) + this.#removedCount);
    expect(labelled.length).toBeLessThanOrEqual(LABELLED_ENVIRONMENTS_MAX);
    const series = new Map([...Object.entries(labels), ['other', otherCount] as const]);
    for (const [id, value] of series) {
      // A series that went away may come back from 0.
      expect(value, id).toBeGreaterThanOrEqual(this.#before.get(id) ?? 0);
    }
    this.#before = series;
    return { labels, other: otherCount };
  }
}

const manyOf = (count: number, value: (index: number) => number): Counts =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`e${index}`, value(index)]));

describe('LabelledEnvironments', () => {
  it('names all while they are few, with all they have', () => {
    const watched = new Watched();
    expect(watched.update({ a: 5, b: 0 })).toEqual({ labels: { a: 5, b: 0 }, other: 0 });
    expect(watched.update({ a: 7, b: 1, c: 9 })).toEqual({ labels: { a: 7, b: 1, c: 9 }, other: 0 });
  });

  it('names the busiest hundred of many, and the others together', () => {
    const { labels, other } = new Watched().update(manyOf(250, (index) => index));
    expect(Object.keys(labels).sort()).toEqual(Array.from({ length: 100 }, (_, index) => `e${150 + index}`).sort());
    expect(other).toBe((149 * 150) / 2);
  });

  it('gives a place to one that is twice as busy, not to one that is a little busier', () => {
    const watched = new Watched();
    watched.update(manyOf(101, (index) => 1_000 + index));
    const little = watched.update({ ...manyOf(101, (index) => 1_000 + index), e0: 1_500 });
    expect(little.labels).not.toHaveProperty('e0');
    const much = watched.update({ ...manyOf(101, (index) => 1_000 + index), e0: 2_100 });
    // Its series begins at 0: what it had was told as others'.
    expect(much.labels.e0).toBe(0);
    expect(much.labels).not.toHaveProperty('e1');
    expect(watched.update({ ...manyOf(101, (index) => 1_000 + index), e0: 2_105 }).labels.e0).toBe(5);
  });

  it('keeps what removed environments had', () => {
    const watched = new Watched();
    watched.update({ a: 5, b: 3 });
    expect(watched.update({ b: 4 })).toEqual({ labels: { b: 4 }, other: 5 });
    expect(watched.update({ a: 2, b: 4 })).toEqual({ labels: { a: 2, b: 4 }, other: 5 });
  });

  it('never falls and never loses one, whatever comes and goes', () => {
    const watched = new Watched();
    let state = 7;
    const random = (count: number): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((state / 2 ** 32) * count);
    };
    let counts: Counts = {};
    for (let round = 0; round < 400; round += 1) {
      counts = { ...counts };
      for (let step = 0; step < 20; step += 1) {
        const id = `e${random(300)}`;
        if (random(12) === 0) delete counts[id];
        else counts[id] = (counts[id] ?? 0) + random(10 ** random(6));
      }
      watched.update(counts);
    }
    expect(Object.keys(counts).length).toBeGreaterThan(150);
  });
});
