import assert from 'node:assert';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type EnvironmentRef, isSameEnvironment, PlatformError } from '@guidon/protocol';
import { comparePositions, type Position } from '@guidon/protocol/live-updates';
import { type ConfigMessage, parseManifest, type Signed } from '@guidon/protocol/signed-config';
import type { EnvironmentSlot } from '../environment-slot.js';

/** Where the definitions in force lie. */
export interface DefinitionSource {
  readonly findSigned: () => Signed | undefined;
  /** Hash of each definition by `kind NUL key`, of the revision that findSigned() answers. */
  readonly index: () => ReadonlyMap<string, string>;
  /** Undefined when one is not there any more. */
  readonly findDefinitions: (hashes: readonly string[]) => Uint8Array[] | undefined;
}

/** One revision as this node has it on its disk. */
interface Content extends Position {
  readonly signed: Signed;
  readonly index: ReadonlyMap<string, string>;
}

/** What one revision changed: the names that it touched, and the position that it came after. */
interface Step extends Position {
  readonly names: readonly string[];
}

/** Revisions, and names that they touched, from which a client still gets a delta (I25); one further behind gets the whole. */
export const STEPS_MAX = 256;
const STEP_NAMES_MAX = 20_000;
/** Between two turns of the event loop. */
const SLICE_MS = 2;
const READ_COUNT = 32;
const READS_MAX = 5;

/**
 * The config of one environment as clients are shown it: what serves, signed, and what changed on the way here, as long as somebody has looked.
 * It never shows an older revision after a newer one, also when this node goes back to the last good one (I8): then clients keep theirs.
 */
export class ConfigView {
  readonly slot: EnvironmentSlot;
  /** `performance.now()` of the last request; the registry forgets views that nobody uses. */
  usedAtMs = 0;
  readonly #source: DefinitionSource;
  #content: Content | undefined;
  /** Of the slot, when #content was read. */
  #renewalCount = 0;
  /** Ascending, each after the position it names; the last one leads to #content. */
  #steps: Step[] = [];
  #nameCount = 0;

  constructor(slot: EnvironmentSlot, source: DefinitionSource) {
    this.slot = slot;
    this.#source = source;
  }

  get environment(): EnvironmentRef {
    return this.slot.environment;
  }

  /** The newest that clients may be shown; undefined before the first. */
  get position(): Position | undefined {
    return this.#content;
  }

  /** Of its manifest: another one for another revision, and for the same one signed again. */
  get signature(): Uint8Array | undefined {
    return this.#content?.signed.signature;
  }

  /** Looks at what serves. True: clients have to be shown something new. */
  refresh(): boolean {
    const { serving } = this.slot;
    if (serving === undefined) return false;
    const before = this.#content;
    const order = before === undefined ? 1 : comparePositions(serving, before);
    const { renewalCount } = this.slot;
    if (order < 0 || (order === 0 && renewalCount === this.#renewalCount)) return false;
    const signed = this.#source.findSigned();
    if (signed === undefined) return false;
    const manifest = parseManifest(signed.document);
    assert(isSameEnvironment(manifest, this.environment), 'config goes out of its own environment (I16)');
    // The disk is ahead of what serves, or behind it, for a moment.
    if (comparePositions(manifest, serving) !== 0) return false;
    this.#renewalCount = renewalCount;
    if (before !== undefined && order === 0) {
      // Who asks from now on gets the younger manifest; who has the older one has the same revision.
      this.#content = { ...before, signed };
      return false;
    }
    const index = this.#source.index();
    this.#content = { epoch: manifest.epoch, revision: manifest.revision, signed, index };
    if (before?.epoch === manifest.epoch) this.#remember(before, index);
    else this.#forget();
    return true;
  }

  #remember(before: Content, index: ReadonlyMap<string, string>): void {
    const names = touchedNames(before.index, index);
    this.#steps.push({ epoch: before.epoch, revision: before.revision, names });
    this.#nameCount += names.length;
    while (this.#steps.length > STEPS_MAX || (this.#nameCount > STEP_NAMES_MAX && this.#steps.length > 0)) {
      this.#nameCount -= this.#steps.shift()?.names.length ?? 0;
    }
  }

  #forget(): void {
    this.#steps = [];
    this.#nameCount = 0;
  }

  /** A delta can be made from there; from anywhere else a client gets the whole. */
  isKnown(since: Position): boolean {
    const content = this.#content;
    if (content === undefined || since.epoch !== content.epoch) return false;
    return since.revision === content.revision || this.#steps.some(({ revision }) => revision === since.revision);
  }

  /** What changed from `since` to the newest, by `kind NUL key`; undefined when that is not known. */
  namesSince(since: Position): ReadonlySet<string> | undefined {
    return this.isKnown(since) ? this.#namesSince(since.revision) : undefined;
  }

  /** Config from `since` to the newest; the whole when `since` is not known. Throws `not-ready` when there is none. */
  async message(since: Position | undefined): Promise<ConfigMessage & Position> {
    for (let count = 0; count < READS_MAX; count += 1) {
      const content = this.#content;
      if (content === undefined) break;
      const { epoch, revision, signed } = content;
      const isDelta = since !== undefined && this.isKnown(since);
      const names = isDelta ? this.#namesSince(since.revision) : undefined;
      const changed = await this.#read(content, names);
      // Definitions are removed from the disk some revisions later: whoever was slower than that starts again.
      if (changed === undefined) {
        this.refresh();
        continue;
      }
      const removed = [...(names ?? [])].filter((name) => !content.index.has(name)).map(splitName);
      const previousRevision = isDelta ? since.revision : 0;
      return { epoch, revision, signed, previousRevision, delta: { changed, removed } };
    }
    throw new PlatformError('not-ready', 'This node cannot read its configuration.');
  }

  #namesSince(since: number): ReadonlySet<string> {
    return new Set(this.#steps.filter(({ revision }) => revision >= since).flatMap(({ names }) => names));
  }

  /** Of `names`, or of all, those that there are; in slices. */
  async #read({ index }: Content, names: ReadonlySet<string> | undefined): Promise<Uint8Array[] | undefined> {
    const wanted = names === undefined ? [...index.values()] : [...names].flatMap((name) => index.get(name) ?? []);
    const definitions: Uint8Array[] = [];
    let startedMs = performance.now();
    for (let from = 0; from < wanted.length; from += READ_COUNT) {
      const read = this.#source.findDefinitions(wanted.slice(from, from + READ_COUNT));
      if (read === undefined) return undefined;
      definitions.push(...read);
      if (performance.now() - startedMs < SLICE_MS) continue;
      await nextTurn();
      startedMs = performance.now();
    }
    return definitions;
  }
}

function touchedNames(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): string[] {
  const names: string[] = [];
  for (const [name, hash] of after) if (before.get(name) !== hash) names.push(name);
  for (const name of before.keys()) if (!after.has(name)) names.push(name);
  return names;
}

function splitName(name: string): readonly [kind: string, key: string] {
  const separator = name.indexOf('\0');
  return [name.slice(0, separator), name.slice(separator + 1)];
}
