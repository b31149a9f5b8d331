import { hashInner } from './merkle-tree.js';

/** A root as somebody stated it. */
export interface TreeState {
  readonly size: number;
  readonly root: Uint8Array;
}

/** Is `leaf` the leaf `index` of `tree`? (RFC 9162, 2.1.3.2) Never throws, whatever the proof holds. */
export function isIncluded(leaf: Uint8Array, index: number, tree: TreeState, proof: readonly Uint8Array[]): boolean {
  if (!(Number.isSafeInteger(index) && index >= 0 && index < tree.size)) return false;
  const climb = new Climb(index, tree.size - 1);
  let root = leaf;
  for (const hash of proof) {
    if (climb.isDone) return false;
    root = climb.step() === 'left' ? hashInner(hash, root) : hashInner(root, hash);
  }
  return climb.isDone && areEqual(root, tree.root);
}

/** Is `first` the beginning of `second`? (RFC 9162, 2.1.4.2) Never throws, whatever the proof holds. */
export function isConsistent(first: TreeState, second: TreeState, proof: readonly Uint8Array[]): boolean {
  if (first.size > second.size) return false;
  if (first.size === second.size) return proof.length === 0 && areEqual(first.root, second.root);
  if (first.size === 0) return proof.length === 0;
  const climb = new Climb(first.size - 1, second.size - 1);
  climb.skipRightEdges();
  // A first tree of a power of two is a node of the second: whoever checks has its hash, the proof leaves it out.
  const [start, ...steps] = climb.isAtStart ? [first.root, ...proof] : proof;
  if (start === undefined) return false;
  let firstRoot = start;
  let secondRoot = start;
  for (const hash of steps) {
    if (climb.isDone) return false;
    if (climb.step() === 'left') {
      firstRoot = hashInner(hash, firstRoot);
      secondRoot = hashInner(hash, secondRoot);
    } else {
      secondRoot = hashInner(secondRoot, hash);
    }
  }
  return climb.isDone && areEqual(firstRoot, first.root) && areEqual(secondRoot, second.root);
}

/** The way from a node up to the root: where it stands in its level, and where the last node of the level does. */
class Climb {
  #node: number;
  #last: number;

  constructor(node: number, last: number) {
    this.#node = node;
    this.#last = last;
  }

  get isDone(): boolean {
    return this.#last === 0;
  }

  /** The first node of its level. */
  get isAtStart(): boolean {
    return this.#node === 0;
  }

  /** Up while the node is the right one of its pair. */
  skipRightEdges(): void {
    while (this.#node % 2 === 1) this.#up();
  }

  /** Which side the next hash of the proof stands on; goes up past it. */
  step(): 'left' | 'right' {
    const isRightOfPair = this.#node % 2 === 1;
    const side = isRightOfPair || this.#node === this.#last ? 'left' : 'right';
    // A last node without a partner is the node above it as well.
    if (side === 'left' && !isRightOfPair) while (this.#node % 2 === 0 && this.#node !== 0) this.#up();
    this.#up();
    return side;
  }

  #up(): void {
    this.#node = Math.floor(this.#node / 2);
    this.#last = Math.floor(this.#last / 2);
  }
}

const areEqual = (left: Uint8Array, right: Uint8Array): boolean => Buffer.compare(left, right) === 0;
