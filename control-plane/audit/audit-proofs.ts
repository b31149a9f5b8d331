import { PlatformError } from '@guidon/protocol';
import {
  consistencyProof,
  inclusionProof,
  MerkleFrontier,
  parseTreeHead,
  type ReadNode,
  signTreeHead,
  type TreeHead,
} from '@guidon/protocol/audit-proof';
import type { Signed, SigningKey } from '@guidon/protocol/signed-config';
import type { StoreReader } from '../store/control-store.js';
import { keys, type Scope } from '../store/keys.js';
import type { AuditRow } from './audit-entry.js';
import { frontierOf, readAuditHead } from './audit-store.js';

/** Hashes in hex, lowest first, as `protocol/audit-proof` checks them. */
export interface AuditProof {
  readonly size: number;
  readonly root: string;
  readonly hashes: readonly string[];
}

/** What the log is now, signed, and the same to read. */
export function currentTreeHead(
  store: Pick<StoreReader, 'find'>,
  owner: Scope,
  now: number,
  key: SigningKey,
): { readonly signed: Signed; readonly head: TreeHead } {
  const frontier = frontierOf(readAuditHead(store, owner));
  const epoch = restoredEpoch(store);
  const state = { owner, size: frontier.size, root: hex(frontier.root()), issuedAt: now };
  const signed = signTreeHead(epoch === 0 ? state : { ...state, epoch }, key);
  return { signed, head: parseTreeHead(signed.document) };
}

/** Of the newest restore; 0 before the first. */
export function restoredEpoch(store: Pick<StoreReader, 'find'>): number {
  return store.find<number>(keys.restoredEpoch()) ?? 0;
}

/** That entry `sequence` is in the log of the first `size` entries. */
export function proveEntry(store: StoreReader, owner: Scope, sequence: number, size: number): AuditProof {
  assertSize(store, owner, size, '/size');
  if (sequence > size) throw outOfRange('/sequence', `the log of ${size} entries has no entry ${sequence}`);
  const readNode = nodeReader(store, owner);
  return proofOf(size, inclusionProof(sequence - 1, size, readNode), readNode);
}

/** That the log of the first `first` entries is the beginning of that of the first `second`. */
export function proveGrowth(store: StoreReader, owner: Scope, first: number, second: number): AuditProof {
  assertSize(store, owner, second, '/second');
  if (first > second) throw outOfRange('/first', `a log of ${first} entries is no beginning of one of ${second}`);
  const readNode = nodeReader(store, owner);
  return proofOf(second, consistencyProof(first, second, readNode), readNode);
}

function proofOf(size: number, hashes: readonly Uint8Array[], readNode: ReadNode): AuditProof {
  return { size, root: hex(rootOf(size, readNode)), hashes: hashes.map(hex) };
}

/** The peaks of a tree are the full subtrees that its size in binary names, largest first. */
function rootOf(size: number, readNode: ReadNode): Uint8Array {
  const peaks: Uint8Array[] = [];
  let from = 0;
  for (let level = Math.floor(Math.log2(Math.max(size, 1))); level >= 0; level -= 1) {
    const count = 2 ** level;
    if (Math.floor(size / count) % 2 === 0) continue;
    peaks.push(readNode(level, from / count));
    from += count;
  }
  return new MerkleFrontier(size, peaks).root();
}

function nodeReader(store: StoreReader, owner: Scope): ReadNode {
  return (level, index) => {
    const node =
      level === 0
        ? store.find<AuditRow>(keys.audit(owner, index + 1))?.hash
        : store.find<string>(keys.auditNode(owner, level, index));
    if (node === undefined) throw new Error(`the audit tree of ${owner} lacks node ${level}/${index}`);
    return Buffer.from(node, 'hex');
  };
}

function assertSize(store: StoreReader, owner: Scope, size: number, pointer: string): void {
  const { sequence } = readAuditHead(store, owner);
  if (size > sequence) throw outOfRange(pointer, `the log has ${sequence} entries`);
}

function outOfRange(pointer: string, detail: string): PlatformError {
  return new PlatformError('validation-failed', detail, { issues: [{ pointer, code: 'validation-failed', detail }] });
}

const hex = (hash: Uint8Array): string => Buffer.from(hash).toString('hex');
