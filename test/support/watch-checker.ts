import { comparePositions, type Position, positionText } from '@guidon/protocol/live-updates';

export type ViolationKind = 'backwards' | 'repeated' | 'gap' | 'damaged' | 'unreadable' | 'fork' | 'end';

export interface Violation {
  readonly client: string;
  readonly kind: ViolationKind;
  readonly detail: string;
}

/** What a client has after an event: a hash of its own content, and the one that was signed for it where the client is told one. */
export interface Content {
  readonly hash: string;
  readonly signedHash?: string;
}

/** Of each client, shown with a violation. */
const RECENT_COUNT = 12;
/** Violations kept; one fault may bring thousands. */
const VIOLATIONS_MAX = 100;

/**
 * Judges what every client heard, event by event (I7, I8, I14): positions rise strictly, a change comes on exactly what the client has, what
 * it has is what was signed, two clients at one position have the same, and in the end all have what the control plane has. Clients of one
 * `kind` have comparable content: definitions, or the values for one context.
 */
export class WatchChecker {
  readonly violations: Violation[] = [];
  readonly #logs: WatchLog[] = [];
  /** By kind and position: whoever comes first says what the others must have. */
  readonly #hashes = new Map<string, string>();

  watch(client: string, kind: string): WatchLog {
    const log = new WatchLog(client, kind, {
      report: (violation) => {
        if (this.violations.length < VIOLATIONS_MAX) this.violations.push(violation);
      },
      hashAt: (at, hash) => {
        const place = `${kind} ${positionText(at)}`;
        const known = this.#hashes.get(place);
        if (known === undefined) this.#hashes.set(place, hash);
        return known ?? hash;
      },
    });
    this.#logs.push(log);
    return log;
  }

  /** Everything has stopped changing: each client of `kind` must be here, with this content. */
  end(kind: string, at: Position, hash: string): void {
    for (const log of this.#logs) if (log.kind === kind) log.end(at, hash);
  }

  /** Events of all clients. */
  get eventCount(): number {
    return this.#logs.reduce((sum, { eventCount }) => sum + eventCount, 0);
  }
}

interface Book {
  readonly report: (violation: Violation) => void;
  readonly hashAt: (at: Position, hash: string) => string;
}

/** One client's log, across all its connections. */
export class WatchLog {
  readonly client: string;
  readonly kind: string;
  readonly #book: Book;
  readonly #recent: string[] = [];
  #at: Position | undefined;
  #hash = '';
  #isFirst = false;
  eventCount = 0;

  constructor(client: string, kind: string, book: Book) {
    this.client = client;
    this.kind = kind;
    this.#book = book;
  }

  get at(): Position | undefined {
    return this.#at;
  }

  get hash(): string {
    return this.#hash;
  }

  /** A new connection, which may begin with a resync: all there is, at the position the client has already. */
  connected(): void {
    this.#isFirst = true;
    this.#note('connected');
  }

  /** Everything, whatever the client had before. */
  whole(at: Position, content: Content): void {
    this.#note(`whole ${positionText(at)}`);
    const order = this.#at === undefined ? 1 : comparePositions(at, this.#at);
    if (order < 0) this.#report('backwards', at);
    else if (order === 0 && !this.#isFirst) this.#report('repeated', at);
    this.#take(at, content);
  }

  /** What changed since `from`. */
  change(from: Position, at: Position, content: Content): void {
    this.#note(`change ${positionText(from)} to ${positionText(at)}`);
    if (this.#at === undefined || comparePositions(from, this.#at) !== 0) this.#report('gap', at);
    else if (comparePositions(at, this.#at) === 0) this.#report('repeated', at);
    if (this.#at !== undefined && comparePositions(at, this.#at) < 0) this.#report('backwards', at);
    this.#take(at, content);
  }

  /** What came could not be read, or is nothing that this client may be sent. */
  unreadable(error: unknown): void {
    this.#report('unreadable', this.#at ?? { epoch: 0, revision: 0 }, String(error));
  }

  end(at: Position, hash: string): void {
    if (this.#at === undefined || comparePositions(this.#at, at) !== 0) this.#report('end', at);
    else if (this.#hash !== hash) this.#report('end', at, `has ${this.#hash}, not ${hash}`);
  }

  #take(at: Position, { hash, signedHash = hash }: Content): void {
    this.#isFirst = false;
    this.eventCount += 1;
    if (hash !== signedHash) this.#report('damaged', at, `has ${hash}, signed is ${signedHash}`);
    const others = this.#book.hashAt(at, hash);
    if (others !== hash) this.#report('fork', at, `has ${hash}, others ${others}`);
    this.#at = at;
    this.#hash = hash;
  }

  #note(event: string): void {
    this.#recent.push(event);
    if (this.#recent.length > RECENT_COUNT) this.#recent.shift();
  }

  #report(kind: ViolationKind, at: Position, why = ''): void {
    const place = this.#at === undefined ? 'nothing' : positionText(this.#at);
    const detail = `at ${place}, then ${positionText(at)} ${why}: ${this.#recent.join(', ')}`;
    this.#book.report({ client: this.client, kind, detail });
  }
}
