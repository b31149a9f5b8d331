import { hash } from 'node:crypto';
import {
  checkFlagSet,
  type Definition,
  decodeDefinition,
  definitionKey,
  type FlagSet,
  InProcessEvaluator,
} from '@guidon/engine/in-process';
import { PlatformError } from '@guidon/protocol';
import { type ConfigMessage, DigestTree, hashDefinition } from '@guidon/protocol/signed-config';
import { WeakTable } from './weak-table.js';

/** One definition, read. Never changed; of bytes that are the same there is one. */
interface Entry {
  readonly definition: Definition;
  /** As they were signed for, and SHA-256 of them. */
  readonly bytes: Uint8Array;
  readonly hash: Uint8Array;
  /** It may ask for `@now`. */
  readonly readsClock: boolean;
}

/** What changed from one set to the next: names are `kind NUL key`. */
type Delta = NonNullable<ConfigMessage['delta']>;

/**
 * What the clients of this thread share, so that a change costs a process with a thousand of them little more than one with a single one, in time and
 * in memory. Entries have the hash of their bytes as names; sets have their digest, and what they were made from (`nameOf`). A name stands for
 * content alone: whether somebody may have it is decided before it is looked for, by each client for itself (ConfigInForce).
 */
const sharedEntries = new WeakTable<Entry>();
const sharedSets = new WeakTable<DefinitionSet>();

/**
 * The definitions of one revision, the digest over them, and what evaluates them. Never changed once it is made; the next revision is another set, in
 * which a definition whose bytes are the same is the same object, so that the evaluator does not build it again.
 */
export class DefinitionSet {
  static readonly EMPTY: DefinitionSet = new this(new Map(), new DigestTree(), flagSetOf(new Map()), undefined);

  readonly flagSet: FlagSet;
  /** Lower-case hex. */
  readonly digest: string;
  /** Some flag or segment asks for `@now`. */
  readonly readsClock: boolean;
  readonly evaluator: InProcessEvaluator;
  readonly #entries: ReadonlyMap<string, Entry>;
  readonly #tree: DigestTree;

  /** Of what has been checked. */
  private constructor(
    entries: ReadonlyMap<string, Entry>,
    tree: DigestTree,
    flagSet: FlagSet,
    previous: DefinitionSet | undefined,
  ) {
    this.#entries = entries;
    this.#tree = tree;
    this.digest = tree.digest();
    this.flagSet = flagSet;
    this.readsClock = [...entries.values()].some((entry) => entry.readsClock);
    this.evaluator = new InProcessEvaluator(flagSet, previous?.evaluator);
  }

  /** Bytes of each definition. */
  *texts(): Generator<Uint8Array> {
    for (const { bytes } of this.#entries.values()) yield bytes;
  }

  /**
   * The set after a change. `isWhole`: `changed` is everything. Throws `conflict` when it is not what the digest stands for, `validation-failed` when a
   * definition cannot be used, or all of them together cannot. The same from the same, so it is made once for all clients of this thread.
   */
  next(delta: Delta, expectedDigest: string, isWhole: boolean): DefinitionSet {
    const name = nameOf(isWhole ? '' : this.digest, delta, expectedDigest);
    const known = sharedSets.find(name);
    if (known !== undefined) return known;
    const next = this.#build(delta, expectedDigest, isWhole);
    sharedSets.add(name, next);
    return next;
  }

  #build({ changed, removed }: Delta, expectedDigest: string, isWhole: boolean): DefinitionSet {
    const entries = new Map(isWhole ? [] : this.#entries);
    const tree = isWhole ? new DigestTree() : this.#tree.clone();
    for (const [kind, key] of removed) {
      entries.delete(`${kind}\0${key}`);
      tree.delete(kind, key);
    }
    const fresh = new Set<Definition>();
    for (const bytes of changed) {
      const entry = readEntry(bytes);
      const { kind } = entry.definition;
      const key = definitionKey(entry.definition);
      entries.set(`${kind}\0${key}`, entry);
      tree.set(kind, key, entry.hash);
      fresh.add(entry.definition);
    }
    const digest = tree.digest();
    if (digest !== expectedDigest)
      throw new PlatformError('conflict', 'the definitions are not those that the manifest names');
    // Come by another way, by a poll after a stream perhaps.
    const same = sharedSets.find(digest);
    if (same !== undefined) return same;
    const flagSet = flagSetOf(entries);
    const issues = checkFlagSet(flagSet, fresh);
    if (issues.length > 0) throw new PlatformError('validation-failed', 'the definitions contradict', { issues });
    // What belongs to no environment yet is no line to go on: its evaluator would be shared by all of them.
    const next = new DefinitionSet(entries, tree, flagSet, this.#entries.size === 0 ? undefined : this);
    sharedSets.add(digest, next);
    return next;
  }
}

/** Equal for equal arguments alone. Digests are of one length, hexadecimal. */
function nameOf(previousDigest: string, delta: Delta, expectedDigest: string): string {
  return `${previousDigest}>${expectedDigest}>${contentOf(delta)}`;
}

/** Clients that share a frame bring one delta, which nobody changes: it is hashed once. */
const contents = new WeakMap<Delta, string>();

/** SHA-256, in which everything of variable length stands behind its length. */
function contentOf(delta: Delta): string {
  const known = contents.get(delta);
  if (known !== undefined) return known;
  const parts: Uint8Array[] = [Buffer.from(JSON.stringify(delta.removed))];
  for (const bytes of delta.changed) parts.push(Buffer.from(`\0${bytes.length}\0`), bytes);
  const content = hash('sha256', Buffer.concat(parts), 'base64url');
  contents.set(delta, content);
  return content;
}

/** Throws `validation-failed`. */
function readEntry(bytes: Uint8Array): Entry {
  const bytesHash = hashDefinition(bytes);
  const name = Buffer.from(bytesHash).toString('base64url');
  const known = sharedEntries.find(name);
  if (known !== undefined) return known;
  const decoded = decodeDefinition(bytes);
  if (!decoded.ok) throw new PlatformError('validation-failed', 'a definition is malformed', decoded);
  const entry = { definition: decoded.value, bytes, hash: bytesHash, readsClock: mayReadClock(bytes) };
  sharedEntries.add(name, entry);
  return entry;
}

function flagSetOf(entries: ReadonlyMap<string, Entry>): FlagSet {
  const flags: [string, Definition & { kind: 'flag' }][] = [];
  const segments: [string, Definition & { kind: 'segment' }][] = [];
  const segmentKeys: [string, Definition & { kind: 'segment-keys' }][] = [];
  for (const { definition } of entries.values()) {
    if (definition.kind === 'flag') flags.push([definition.key, definition]);
    else if (definition.kind === 'segment') segments.push([definition.key, definition]);
    else segmentKeys.push([definitionKey(definition), definition]);
  }
  return { flags: new Map(flags), segments: new Map(segments), segmentKeys: new Map(segmentKeys) };
}

/** An escape may hide an `@`; both are rare. */
function mayReadClock(bytes: Uint8Array): boolean {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return text.includes('@now') || text.includes('\\u');
}
