/**
 * Events that wait to be sent, at least once, without ever holding up who adds them: at `countMax` the oldest that waits is dropped and counted.
 * One batch is under way at a time. It stays what it is, ids included, until it is settled, so that a receiver can tell a repetition.
 */
export class EventBuffer<Event extends NonNullable<unknown>> {
  readonly #countMax: number;
  readonly #batchCountMax: number;
  /** A ring: `#count` events from `#first` on. */
  readonly #ring: (Event | undefined)[] = [];
  #first = 0;
  #count = 0;
  #batch: readonly Event[] = [];
  #droppedCount = 0;

  constructor({ countMax, batchCountMax }: { readonly countMax: number; readonly batchCountMax: number }) {
    if (!(countMax >= 1 && batchCountMax >= 1)) throw new RangeError('countMax and batchCountMax are at least 1');
    this.#countMax = countMax;
    this.#batchCountMax = batchCountMax;
  }

  /** Waiting and under way; at most `countMax + batchCountMax`. */
  get count(): number {
    return this.#count + this.#batch.length;
  }

  /** Since the beginning. */
  get droppedCount(): number {
    return this.#droppedCount;
  }

  add(event: Event): void {
    if (this.#count === this.#countMax) {
      this.#take();
      this.#droppedCount += 1;
    }
    this.#ring[(this.#first + this.#count) % this.#countMax] = event;
    this.#count += 1;
  }

  /** What to send now, oldest first: the batch under way, or the next one. Empty: there is nothing. */
  batch(): readonly Event[] {
    if (this.#batch.length > 0) return this.#batch;
    const batch: Event[] = [];
    while (batch.length < this.#batchCountMax) {
      const event = this.#take();
      if (event === undefined) break;
      batch.push(event);
    }
    this.#batch = batch;
    return batch;
  }

  /** The batch under way has been taken. */
  settle(): void {
    this.#batch = [];
  }

  /** Nobody will ever take the batch under way: it counts as dropped. */
  refuse(): void {
    this.#droppedCount += this.#batch.length;
    this.#batch = [];
  }

  #take(): Event | undefined {
    if (this.#count === 0) return undefined;
    const event = this.#ring[this.#first];
    this.#ring[this.#first] = undefined;
    this.#first = (this.#first + 1) % this.#countMax;
    this.#count -= 1;
    return event;
  }
}
