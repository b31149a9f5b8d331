import {
  checkFlagSet,
  type Definition,
  decodeDefinition,
  definitionKey,
  type FlagSet,
} from '@guidon/engine/in-process';
import { PlatformError } from '@guidon/protocol';
import { type ConfigMessage, DigestTree, hashDefinition } from '@guidon/protocol/signed-config';

interface Entry {
  readonly definition: Definition;
  /** As they were signed for. */
  readonly bytes: Uint8Array;
  /** It may ask for `@now`. */
  readonly readsClock: boolean;
}

/** What changed from one set to the next: names are `kind NUL key`. */
type Delta = NonNullable<ConfigMessage['delta']>;

/**
 * The definitions of one revision and the digest over them. Never changed once it is made; the next revision is another set, in which a
 * definition whose bytes are the same is the same object, so that the evaluator does not build it again.
 */
export class DefinitionSet {
  static readonly EMPTY = new DefinitionSet(new Map(), new DigestTree());

  readonly flagSet: FlagSet;
  /** Lower-case hex. */
  readonly digest: string;
  /** Some flag or segment asks for `@now`. */
  readonly readsClock: boolean;
  readonly #entries: ReadonlyMap<string, Entry>;
  readonly #tree: DigestTree;

  private constructor(entries: ReadonlyMap<string, Entry>, tree: DigestTree) {
    this.#entries = entries;
    this.#tree = tree;
    this.digest = tree.digest();
    this.flagSet = flagSetOf(entries);
    this.readsClock = [...entries.values()].some((entry) => entry.readsClock);
  }

  /** Bytes of each definition. */
  *texts(): Generator<Uint8Array> {
    for (const { bytes } of this.#entries.values()) yield bytes;
  }

  /**
   * The set after a change. `isWhole`: `changed` is everything. Throws `conflict` when it is not what the digest stands for, `validation-failed` when a
   * definition cannot be used, or all of them together cannot.
   */
  next({ changed, removed }: Delta, expectedDigest: string, isWhole: boolean): DefinitionSet {
    const entries = new Map(isWhole ? [] : this.#entries);
    const tree = isWhole ? new DigestTree() : this.#tree.clone();
    for (const [kind, key] of removed) {
      entries.delete(`${kind}\0${key}`);
      tree.delete(kind, key);
    }
    const fresh = new Set<Definition>();
    for (const bytes of changed) {
      const { kind, key, definition } = this.#read(bytes);
      entries.set(`${kind}\0${key}`, { definition, bytes, readsClock: mayReadClock(bytes) });
      tree.set(kind, key, hashDefinition(bytes));
      fresh.add(definition);
    }
    const next = new DefinitionSet(entries, tree);
    if (next.digest !== expectedDigest)
      throw new PlatformError('conflict', 'the definitions are not those that the manifest names');
    const issues = checkFlagSet(next.flagSet, fresh);
    if (issues.length > 0) throw new PlatformError('validation-failed', 'the definitions contradict', { issues });
    return next;
  }

  #read(bytes: Uint8Array): { kind: string; key: string; definition: Definition } {
    const decoded = decodeDefinition(bytes);
    if (!decoded.ok) throw new PlatformError('validation-failed', 'a definition is malformed', decoded);
    const { kind } = decoded.value;
    const key = definitionKey(decoded.value);
    const known = this.#entries.get(`${kind}\0${key}`);
    const isSame = known !== undefined && Buffer.compare(known.bytes, bytes) === 0;
    return { kind, key, definition: isSame ? known.definition : decoded.value };
  }
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
