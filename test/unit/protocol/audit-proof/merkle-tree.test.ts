import {
  consistencyProof,
  hashLeaf,
  inclusionProof,
  isConsistent,
  isIncluded,
  MerkleFrontier,
  type ReadNode,
  type TreeState,
} from '@guidon/protocol/audit-proof';
import { describe, expect, it } from 'vitest';

const SIZE_MAX = 40;

/** A tree as the store keeps it: leaves, full nodes, and the state at every size. */
function treeOf(entries: readonly string[]): { leaves: Uint8Array[]; states: TreeState[]; readNode: ReadNode } {
  const frontier = new MerkleFrontier();
  const nodes = new Map<string, Uint8Array>();
  const states: TreeState[] = [{ size: 0, root: frontier.root() }];
  const leaves = entries.map(hashLeaf);
  for (const [index, leaf] of leaves.entries()) {
    nodes.set(`0/${index}`, leaf);
    for (const node of frontier.append(leaf)) nodes.set(`${node.level}/${node.index}`, node.hash);
    states.push({ size: frontier.size, root: frontier.root() });
  }
  const readNode: ReadNode = (level, index) => {
    const node = nodes.get(`${level}/${index}`);
    if (node === undefined) throw new Error(`${level}/${index} was never full`);
    return node;
  };
  return { leaves, states, readNode };
}

const { leaves, states, readNode } = treeOf(Array.from({ length: SIZE_MAX }, (_, index) => `entry ${index}`));
const stateAt = (size: number): TreeState => states[size] ?? { size, root: new Uint8Array() };
const leafAt = (index: number): Uint8Array => leaves[index] ?? new Uint8Array();
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const flipped = (hash: Uint8Array): Uint8Array => hash.with(5, (hash[5] ?? 0) ^ 4);

/** What somebody might do to a proof. */
function spoilt(proof: readonly Uint8Array[]): Uint8Array[][] {
  return [
    ...proof.map((hash, index) => proof.with(index, flipped(hash))),
    ...proof.map((_, index) => proof.toSpliced(index, 1)),
    [...proof, hashLeaf('more')],
    ...(proof.length > 1 ? [proof.toReversed()] : []),
  ];
}

describe('MerkleFrontier', () => {
  it('root() is that of the published vectors of certificate transparency', () => {
    const inputs = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];
    const tree = treeOf(inputs.map((input) => Buffer.from(input, 'hex').toString('latin1')));
    expect(tree.states.map(({ root }) => hex(root))).toEqual([
      'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
      '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
      'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
      'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
      '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
      '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
      'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
      '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
    ]);
  });

  it('goes on from the peaks that were kept', () => {
    const whole = new MerkleFrontier();
    for (const leaf of leaves) {
      const resumed = new MerkleFrontier(whole.size, whole.peaks);
      whole.append(leaf);
      resumed.append(leaf);
      expect(hex(resumed.root())).toBe(hex(whole.root()));
    }
    expect(() => new MerkleFrontier(3, [leafAt(0)])).toThrow('a tree of 3 leaves has 2 peaks');
  });
});

describe('proofs', () => {
  it('isIncluded() takes the proof of every leaf in every tree, and no spoilt one', () => {
    for (let size = 1; size <= SIZE_MAX; size += 1) {
      for (let index = 0; index < size; index += 1) {
        const proof = inclusionProof(index, size, readNode);
        const tree = stateAt(size);
        expect(isIncluded(leafAt(index), index, tree, proof)).toBe(true);
        for (const bad of spoilt(proof)) expect(isIncluded(leafAt(index), index, tree, bad)).toBe(false);
        expect(isIncluded(flipped(leafAt(index)), index, tree, proof)).toBe(false);
        expect(isIncluded(leafAt(index), index, { size, root: flipped(tree.root) }, proof)).toBe(false);
        expect(isIncluded(leafAt(index), (index + 1) % size, tree, proof)).toBe(size === 1);
      }
    }
    expect(isIncluded(leafAt(0), 0, stateAt(0), [])).toBe(false);
    expect(isIncluded(leafAt(0), -1, stateAt(4), [])).toBe(false);
  });

  it('isConsistent() takes the proof of every tree in every later one, and no spoilt one', () => {
    for (let second = 1; second <= SIZE_MAX; second += 1) {
      for (let first = 1; first < second; first += 1) {
        const proof = consistencyProof(first, second, readNode);
        expect(isConsistent(stateAt(first), stateAt(second), proof)).toBe(true);
        for (const bad of spoilt(proof)) expect(isConsistent(stateAt(first), stateAt(second), bad)).toBe(false);
        const other = { size: first, root: flipped(stateAt(first).root) };
        expect(isConsistent(other, stateAt(second), proof)).toBe(false);
        expect(isConsistent(stateAt(second), stateAt(first), proof)).toBe(false);
      }
      expect(isConsistent(stateAt(second), stateAt(second), [])).toBe(true);
      expect(isConsistent(stateAt(0), stateAt(second), [])).toBe(true);
    }
  });

  it('is refused for a leaf or a size that is not there', () => {
    expect(() => inclusionProof(3, 3, readNode)).toThrow(RangeError);
    expect(() => consistencyProof(4, 3, readNode)).toThrow(RangeError);
  });
});
