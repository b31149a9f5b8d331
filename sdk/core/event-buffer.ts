interface Waiting {
  readonly text: string;
  /** UTF-8, with the comma behind it. */
  readonly bytes: number;
}

export interface EventBufferBounds {
  readonly countMax: number;
  readonly batchCountMax: number;
  /** Of the JSON of a batch. */
  readonly batchBytesMax: number;
}

const utf8 = new TextEncoder();

/**
 * Events that wait to be sent, at least once, without ever holding up who adds them: at `countMax` the oldest that waits is dropped and counted.
 * One batch is under way at a time. It stays what it is, ids included, until it is settled, so that a receiver can tell a repetition.
 *
 * They wait as JSON: what a program does to the data of an event later changes nothing, and what is no JSON, or alone too large for a batch, is dropped
 * when it is added instead of holding up what is behind it for ever.
 */
export class EventBuffer {
  readonly #bounds: EventBufferBounds;
  /** A ring: `#count` events from `#first` on. */
  readonly #ring: (Waiting | undefined)[] = [];
  #first = 0;
  #count = 0;
  #batch: readonly string[] = [];
  #droppedCount = 0;

  constructor(bounds: EventBufferBounds) {
    if (!(Math.min(...Object.values(bounds)) >= 1)) throw new RangeError('the bounds are at least 1');
    this.#bounds = bounds;
  }

  /** Waiting and under way; at most `countMax + batchCountMax`. */
  get count(): number {
    return this.#count + this.#batch.length;
  }

  /** Since the beginning. */
  get droppedCount(): number {
    return this.#droppedCount;
  }

  /** False: it can never be sent. */
  add(event: unknown): boolean {
    const { countMax, batchBytesMax } = this.#bounds;
    const text = textOf(event);
    const bytes = utf8.encode(text).length + 1;
    if (text === '' || bytes > batchBytesMax) {
      this.#droppedCount += 1;
      return false;
    }
    if (this.#count === countMax) {
      this.#take();
      this.#droppedCount += 1;
    }
    this.#ring[(this.#first + this.#count) % countMax] = { text, bytes };
    this.#count += 1;
    return true;
  }

  /** What to send now, each as JSON, oldest first: the batch under way, or the next one. Empty: there is nothing. */
  batch(): readonly string[] {
    if (this.#batch.length > 0) return this.#batch;
    const { batchCountMax, batchBytesMax } = this.#bounds;
    const batch: string[] = [];
    let bytes = 0;
    for (let next = this.#ring[this.#first]; next !== undefined; next = this.#ring[this.#first]) {
      bytes += next.bytes;
      if (batch.length === batchCountMax || bytes > batchBytesMax) break;
      batch.push(next.text);
      this.#take();
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

  #take(): void {
    this.#ring[this.#first] = undefined;
    this.#first = (this.#first + 1) % this.#bounds.countMax;
    this.#count -= 1;
  }
}

/** '': it has none, such as what refers to itself. */
function textOf(event: unknown): string {
  try {
    return JSON.stringify(event) ?? '';
  } catch {
    return '';
  }
}
