import { isDeepStrictEqual } from 'node:util';
import { definitionKey, type FlagDefinition, type NamedRule, type Targeting } from '@guidon/engine';
import { type EnvironmentRef, type Issue, PlatformError } from '@guidon/protocol';
import type { DefinitionChange, RecordRead, RecordWrite } from '../commit/change.js';
import type { ControlPlaneCore } from '../core.js';
import { type FoundEnvironment, refOf } from '../environments/environment-read-model.js';
import { asJson } from '../flags/as-json.js';
import { describeTargetingChange } from '../flags/describe-targeting.js';
import { type FlagRecord, flagDefinitionOf, type TargetingRecord } from '../flags/flag-record.js';
import { findFlag, getTargeting } from '../flags/flag-store.js';
import { editTargeting } from '../flags/targeting-input.js';
import { viewTargeting } from '../flags/targeting-view.js';
import { type KeyCount, type SegmentRecord, segmentDefinitionOf, withKeyCount } from '../segments/segment-record.js';
import { findSegment } from '../segments/segment-store.js';
import { describeSegmentChange, viewSegment } from '../segments/segment-view.js';
import { keys } from '../store/keys.js';
import type { Difference } from './compare-revisions.js';
import type { PastDefinitions } from './past-definitions.js';

export const NOT_RESTORED_REASONS = ['archived', 'deleted', 'key-used-again', 'newer', 'shared'] as const;

/**
 * What a restore leaves as it is. `newer`: not in the old revision. `shared`: its variations or visibility belong to the project and differ;
 * its targeting is restored all the same.
 */
export interface NotRestored {
  readonly kind: 'flag' | 'segment';
  readonly key: string;
  readonly reason: (typeof NOT_RESTORED_REASONS)[number];
}

interface Restored<Row> {
  readonly read: Row;
  readonly now: Row;
}

/**
 * What makes an environment serve again what it served at a revision, as far as the environment owns it: targeting, rules of segments and their
 * keys. Salts stay, so every bucket does. Nothing that is archived or deleted comes back.
 */
export class RestoreDraft {
  readonly #core: ControlPlaneCore;
  readonly #past: PastDefinitions;
  readonly #revision: number;
  readonly #environment: EnvironmentRef;
  readonly #environmentKey: string;
  readonly #flags: FlagRecord[] = [];
  readonly #targetings = new Map<string, Restored<TargetingRecord> & { readonly flag: FlagRecord }>();
  readonly #segments = new Map<string, Restored<SegmentRecord>>();
  readonly #chunks: DefinitionChange[] = [];
  readonly #issues: Issue[] = [];
  readonly sentences: string[] = [];
  readonly notRestored: NotRestored[] = [];

  constructor(core: ControlPlaneCore, found: FoundEnvironment, past: PastDefinitions, revision: number) {
    this.#core = core;
    this.#past = past;
    this.#revision = revision;
    this.#environment = refOf(found.environment);
    this.#environmentKey = found.environment.key;
  }

  /** Why what the old targetings name cannot be served today; pointers are `/flags/<key>/…`. */
  get issues(): readonly Issue[] {
    return this.#issues;
  }

  /** `definition` is the flag of the old revision. Answers why it is left alone, if it is. */
  restoreFlag(definition: FlagDefinition): NotRestored['reason'] | undefined {
    const { tenantId, projectId } = this.#environment;
    const flag = findFlag(this.#core.store, tenantId, projectId, definition.key);
    if (flag === undefined) return 'deleted';
    this.#flags.push(flag);
    if (flag.archivedAt !== null) return 'archived';
    const read = getTargeting(this.#core.store, this.#environment, flag.key);
    if (read.salt !== definition.salt) return 'key-used-again';
    const next = targetingOf(definition, read.targeting.rules);
    try {
      const now = editTargeting(flag, read, next, { pointer: `/flags/${flag.key}`, now: this.#core.now() });
      const sentences = describeTargetingChange(read.targeting, now.targeting);
      if (sentences.length > 0) this.#targetings.set(flag.key, { flag, read, now });
      this.sentences.push(...sentences.map((sentence) => `${flag.key} ${sentence}`));
    } catch (error) {
      if (!(error instanceof PlatformError) || error.issues.length === 0) throw error;
      this.#issues.push(...error.issues);
    }
    const { variations, clientSide } = flagDefinitionOf(flag, read);
    const isShared = isDeepStrictEqual({ variations, clientSide }, sharedPartOf(definition));
    return isShared ? undefined : 'shared';
  }

  /** Everything that differs between now (`before`) and the old revision (`after`). */
  restoreAll(differences: readonly Difference[]): void {
    const segments = new Map<string, Difference[]>();
    for (const difference of differences) {
      const { kind, key, after } = difference;
      if (kind === 'flag') {
        const definition = after && this.#past.read<'flag'>(after, this.#revision);
        this.#note('flag', key, definition === undefined ? 'newer' : this.restoreFlag(definition));
      } else {
        const segment = key.split('/')[0] ?? '';
        segments.set(segment, [...(segments.get(segment) ?? []), difference]);
      }
    }
    for (const [key, parts] of segments) this.#note('segment', key, this.#restoreSegment(key, parts));
  }

  #note(kind: NotRestored['kind'], key: string, reason: NotRestored['reason'] | undefined): void {
    if (reason !== undefined) this.notRestored.push({ kind, key, reason });
  }

  #restoreSegment(key: string, parts: readonly Difference[]): NotRestored['reason'] | undefined {
    const definition = this.#past.find('segment', key, this.#revision);
    if (definition === undefined) return 'newer';
    const read = findSegment(this.#core.store, this.#environment, key);
    if (read === undefined) return 'deleted';
    if (read.archivedAt !== null) return 'archived';
    if (read.salt !== definition.salt) return 'key-used-again';
    const keyCounts = this.#restoreChunks(read.keyCounts, parts);
    const now: SegmentRecord = {
      ...read,
      rules: definition.rules,
      keyCounts,
      version: read.version + 1,
      updatedAt: this.#core.now(),
    };
    this.#segments.set(key, { read, now });
    const hasChunks = parts.some(({ kind }) => kind === 'segment-keys');
    this.sentences.push(
      ...[...describeSegmentChange(read, now), ...(hasChunks ? ['keys are those of then'] : [])].map(
        (sentence) => `segment ${key} ${sentence}`,
      ),
    );
    return undefined;
  }

  /** The counts once the chunks that differ are those of then. */
  #restoreChunks(before: readonly KeyCount[], parts: readonly Difference[]): readonly KeyCount[] {
    const served = this.#core.committer.flagSetOf(this.#environment).segmentKeys;
    let counts = before;
    for (const { kind, key, after } of parts) {
      if (kind !== 'segment-keys') continue;
      const then = after && this.#past.read<'segment-keys'>(after, this.#revision);
      const chunk = then ?? served.get(key);
      if (chunk === undefined) throw new Error('a chunk that differs is served now or was then');
      const { list, contextKind } = chunk;
      const counted = counts.find((count) => count.list === list && count.contextKind === contextKind)?.count ?? 0;
      const count = counted + (then?.keys.length ?? 0) - (served.get(key)?.keys.length ?? 0);
      counts = withKeyCount(counts, { list, contextKind, count });
      const name = { kind, key: definitionKey(chunk) } as const;
      this.#chunks.push(then === undefined ? { remove: name } : { put: then });
    }
    return counts;
  }

  definitions(): DefinitionChange[] {
    return [
      ...[...this.#targetings.values()].map(({ flag, now }) => ({ put: flagDefinitionOf(flag, now) })),
      ...[...this.#segments.values()].map(({ now }) => ({ put: segmentDefinitionOf(now) })),
      ...this.#chunks,
    ];
  }

  records(): RecordWrite[] {
    return [
      ...[...this.#targetings].map(([key, { read, now }]) => ({
        key: keys.targeting(this.#environment, key),
        read,
        value: now,
      })),
      ...[...this.#segments].map(([key, { read, now }]) => ({
        key: keys.segment(this.#environment, key),
        read,
        value: now,
      })),
    ];
  }

  relied(): RecordRead[] {
    const { tenantId, projectId } = this.#environment;
    return this.#flags.map((read) => ({ key: keys.flag(tenantId, projectId, read.key), read }));
  }

  /** Keys of what is written. */
  restored(): { flags: string[]; segments: string[] } {
    return { flags: [...this.#targetings.keys()], segments: [...this.#segments.keys()] };
  }

  /** Everything written, as callers see it. */
  view(side: 'read' | 'now') {
    const targetings = [...this.#targetings].map(
      ([key, { [side]: record }]) => [key, viewTargeting(key, this.#environmentKey, record)] as const,
    );
    const segments = [...this.#segments].map(([key, { [side]: record }]) => [key, viewSegment(record)] as const);
    return asJson({ targetings: Object.fromEntries(targetings), segments: Object.fromEntries(segments) });
  }
}

const sharedPartOf = ({ variations, clientSide }: FlagDefinition) => ({ variations, clientSide });

/** Names of rules are in no definition: a rule that is still there keeps the one it has. */
function targetingOf(definition: FlagDefinition, rules: readonly NamedRule[]): Targeting {
  const { on, offVariation, prerequisites, targets, fallthrough } = definition;
  const names = new Map(rules.map(({ id, name }) => [id, name]));
  const named = definition.rules.map((rule) => {
    const name = names.get(rule.id);
    return name === undefined ? rule : { ...rule, name };
  });
  return { on, offVariation, prerequisites, targets, rules: named, fallthrough };
}
