import { divisionOf, hashInner } from './merkle-tree.js';

/** Reads a full subtree that was kept; level 0 are the leaves. */
export type ReadNode = (level: number, index: number) => Uint8Array;

/** The hashes that lead from leaf `index` to the root of the tree of the first `size` leaves (RFC 9162, 2.1.3). */
export function inclusionProof(index: number, size: number, readNode: ReadNode): Uint8Array[] {
  if (!(index >= 0 && index < size)) throw new RangeError(`no leaf ${index} in a tree of ${size}`);
  return pathTo(index, 0, size, readNode);
}

function pathTo(index: number, from: number, to: number, readNode: ReadNode): Uint8Array[] {
  if (to - from === 1) return [];
  const middle = from + divisionOf(to - from);
  return index < middle
    ? [...pathTo(index, from, middle, readNode), subtreeHash(middle, to, readNode)]
    : [...pathTo(index, middle, to, readNode), subtreeHash(from, middle, readNode)];
}

/** The hashes that show the tree of the first `first` leaves to be the beginning of the tree of the first `second` (RFC 9162, 2.1.4). */
export function consistencyProof(first: number, second: number, readNode: ReadNode): Uint8Array[] {
  if (!(first >= 0 && first <= second)) throw new RangeError(`a tree of ${first} is no beginning of one of ${second}`);
  return first === 0 ? [] : stepsFrom(first, 0, second, true, readNode);
}

/** `isWhole`: the tree of the first leaves is a subtree in its own right, so whoever checks knows its hash already. */
function stepsFrom(first: number, from: number, to: number, isWhole: boolean, readNode: ReadNode): Uint8Array[] {
  if (first === to) return isWhole ? [] : [subtreeHash(from, to, readNode)];
  const middle = from + divisionOf(to - from);
  return first <= middle
    ? [...stepsFrom(first, from, middle, isWhole, readNode), subtreeHash(middle, to, readNode)]
    : [...stepsFrom(first, middle, to, false, readNode), subtreeHash(from, middle, readNode)];
}

/** Of the leaves from `from` up to `to`, a range that the division of some tree gave. */
function subtreeHash(from: number, to: number, readNode: ReadNode): Uint8Array {
  const count = to - from;
  const level = Math.log2(count);
  if (Number.isInteger(level)) return readNode(level, from / count);
  const middle = from + divisionOf(count);
  return hashInner(subtreeHash(from, middle, readNode), subtreeHash(middle, to, readNode));
}
