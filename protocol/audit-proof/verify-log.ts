import { hashLeaf, MerkleFrontier } from './merkle-tree.js';

/** One line of an export: an entry exactly as it was hashed, and its leaf hash in hex. */
export interface LogEntry {
  readonly text: string;
  readonly hash: string;
}

/** The size and root that a remembered tree head states. */
export interface RememberedHead {
  readonly size: number;
  /** Hex. */
  readonly root: string;
}

export type LogVerdict =
  | { readonly isSound: true; readonly size: number; readonly root: string }
  | {
      readonly isSound: false;
      /** Number of the first entry that is not what it was, from 1. With `rewritten` it is one of 1 to `sequence`. */
      readonly sequence: number;
      readonly fault: 'edited' | 'out-of-order' | 'missing' | 'rewritten';
      readonly detail: string;
    };

type Fault = Extract<LogVerdict, { isSound: false }>;

/**
 * Checks a log from its first entry on, one entry at a time: each is what its hash says, names the hash of the one before it, and has the
 * next number; at the size of the remembered head the Merkle root is that head's. Without a head a log whose end was cut off, or that
 * was made anew from the first entry on, looks sound.
 */
export class LogVerifier {
  readonly #head: RememberedHead | undefined;
  readonly #frontier = new MerkleFrontier();
  #previousHash = '';
  #fault: Fault | undefined;

  constructor(head?: RememberedHead) {
    this.#head = head;
    this.#checkHead();
  }

  /** False from the first bad entry on; there is no need to go on then. */
  add(entry: LogEntry): boolean {
    if (this.#fault !== undefined) return false;
    const sequence = this.#frontier.size + 1;
    const leaf = hashLeaf(entry.text);
    const hash = Buffer.from(leaf).toString('hex');
    if (hash !== entry.hash) {
      this.#fault = fault(sequence, 'edited', 'the text is not what its hash says');
    } else if (!entry.text.startsWith(`{"sequence":${sequence},"previousHash":"${this.#previousHash}",`)) {
      this.#fault = fault(sequence, 'out-of-order', 'it does not follow from the entry before it');
    } else {
      this.#frontier.append(leaf);
      this.#previousHash = hash;
      this.#checkHead();
    }
    return this.#fault === undefined;
  }

  verdict(): LogVerdict {
    if (this.#fault !== undefined) return this.#fault;
    const { size } = this.#frontier;
    if (this.#head !== undefined && size < this.#head.size) {
      return fault(size + 1, 'missing', `the log ends at ${size}, the remembered head has ${this.#head.size}`);
    }
    return { isSound: true, size, root: this.#root() };
  }

  #checkHead(): void {
    if (this.#head?.size !== this.#frontier.size || this.#root() === this.#head.root) return;
    this.#fault = fault(
      this.#head.size,
      'rewritten',
      `the first ${this.#head.size} entries are not those of the remembered head: one of them, or all, were made anew`,
    );
  }

  #root(): string {
    return Buffer.from(this.#frontier.root()).toString('hex');
  }
}

const fault = (sequence: number, kind: Fault['fault'], detail: string): Fault => ({
  isSound: false,
  sequence,
  fault: kind,
  detail,
});
