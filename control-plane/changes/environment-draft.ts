import { definitionKey, type SegmentKeysDefinition } from '@guidon/engine';
import { type EnvironmentRef, type Json, PlatformError } from '@guidon/protocol';
import { MERGE_PATCH } from '../admin-api/patch.js';
import type { DefinitionChange, RecordRead, RecordWrite, Versioned } from '../commit/change.js';
import type { ControlPlaneCore } from '../core.js';
import type { FoundEnvironment } from '../environments/environment-read-model.js';
import { refOf } from '../environments/environment-read-model.js';
import { describeTargetingChange } from '../flags/describe-targeting.js';
import { type FlagRecord, flagDefinitionOf, type TargetingRecord } from '../flags/flag-record.js';
import { findFlag, getTargeting } from '../flags/flag-store.js';
import { editTargeting, patchTargeting } from '../flags/targeting-input.js';
import { viewTargeting } from '../flags/targeting-view.js';
import { describeListEdit, editList, type ListEdit, listEditDetails, patchSegment } from '../segments/segment-edit.js';
import { checkKeysEdit } from '../segments/segment-input.js';
import { type SegmentRecord, segmentDefinitionOf } from '../segments/segment-record.js';
import { findSegment } from '../segments/segment-store.js';
import { describeSegmentChange, viewSegment } from '../segments/segment-view.js';
import { keys } from '../store/keys.js';
import type { ChangeOperation } from './change-input.js';

/** A record while operations are applied to it: as it was read, as it is now, and where in the body it was touched last. */
interface Drafted<Row extends Versioned> {
  readonly read: Row;
  readonly now: Row;
  readonly pointer: string;
}

/**
 * An environment with the operations of one request applied in order, before anything is written. Each operation sees what the ones before
 * it left; a record that several of them touch is written once, with one version more than was read.
 */
export class EnvironmentDraft {
  readonly #core: ControlPlaneCore;
  readonly #found: FoundEnvironment;
  readonly #environment: EnvironmentRef;
  readonly #flags = new Map<string, FlagRecord>();
  readonly #targetings = new Map<string, Drafted<TargetingRecord>>();
  readonly #segments = new Map<string, Drafted<SegmentRecord>>();
  /** Chunks of the environment by definition key, with the edits so far. */
  #chunks: ReadonlyMap<string, SegmentKeysDefinition>;
  readonly #details: Json[] = [];
  readonly sentences: string[] = [];

  constructor(core: ControlPlaneCore, found: FoundEnvironment) {
    this.#core = core;
    this.#found = found;
    this.#environment = refOf(found.environment);
    this.#chunks = core.committer.flagSetOf(this.#environment).segmentKeys;
  }

  apply(operation: ChangeOperation, pointer: string): void {
    switch (operation.op) {
      case 'targeting.patch':
      case 'targeting.put':
        this.#editTargeting(operation, pointer);
        return;
      case 'segment.patch': {
        const patch = { type: MERGE_PATCH, document: operation.patch } as const;
        this.#editSegment(operation.segment, pointer, (before) =>
          patchSegment(before, patch, { pointer: `${pointer}/patch`, now: this.#core.now() }),
        );
        return;
      }
      case 'segment.keys': {
        const edit: ListEdit = { ...operation, mode: 'edit', ...checkKeysEdit(operation, pointer) };
        this.#editSegment(operation.segment, pointer, (before) => this.#editKeys(before, edit, pointer));
      }
    }
  }

  #editTargeting(
    operation: Extract<ChangeOperation, { op: 'targeting.patch' | 'targeting.put' }>,
    pointer: string,
  ): void {
    const { flag: flagKey } = operation;
    const flag = this.#getFlag(flagKey, pointer);
    const drafted = this.#targetings.get(flagKey);
    const read = drafted?.read ?? getTargeting(this.#core.store, this.#environment, flagKey);
    const before = drafted?.now ?? read;
    const isPatch = operation.op === 'targeting.patch';
    const next = isPatch
      ? patchTargeting(before, { type: MERGE_PATCH, document: operation.patch })
      : operation.targeting;
    const place = `${pointer}/${isPatch ? 'patch' : 'targeting'}`;
    const now = editTargeting(flag, before, next, { pointer: place, now: this.#core.now() });
    this.sentences.push(
      ...describeTargetingChange(before.targeting, now.targeting).map((text) => `${flagKey} ${text}`),
    );
    this.#targetings.set(flagKey, { read, now: { ...now, version: read.version + 1 }, pointer: place });
  }

  #getFlag(flagKey: string, pointer: string): FlagRecord {
    const { tenantId, projectId } = this.#environment;
    const flag = this.#flags.get(flagKey) ?? findFlag(this.#core.store, tenantId, projectId, flagKey);
    if (flag === undefined) throw dangling(`${pointer}/flag`, `there is no flag ${flagKey}`);
    this.#flags.set(flagKey, flag);
    return flag;
  }

  #editSegment(segmentKey: string, pointer: string, edit: (before: SegmentRecord) => SegmentRecord): void {
    const drafted = this.#segments.get(segmentKey);
    const read = drafted?.read ?? findSegment(this.#core.store, this.#environment, segmentKey);
    if (read === undefined) throw dangling(`${pointer}/segment`, `there is no segment ${segmentKey}`);
    const before = drafted?.now ?? read;
    const now = edit(before);
    this.sentences.push(...describeSegmentChange(before, now).map((text) => `segment ${segmentKey} ${text}`));
    this.#segments.set(segmentKey, { read, now: { ...now, version: read.version + 1 }, pointer: `${pointer}/patch` });
  }

  #editKeys(before: SegmentRecord, edit: ListEdit, pointer: string): SegmentRecord {
    const { record, definitions, edited } = editList(before, this.#chunks, edit, { pointer, now: this.#core.now() });
    const chunks = new Map(this.#chunks);
    for (const change of definitions) {
      if ('remove' in change) chunks.delete(change.remove.key);
      else if (change.put.kind === 'segment-keys') chunks.set(definitionKey(change.put), change.put);
    }
    this.#chunks = chunks;
    this.sentences.push(`segment ${before.key} ${describeListEdit(edit, edited)}`);
    if (this.#details.length < DETAILS_MAX) this.#details.push(listEditDetails(edit, edited));
    return record;
  }

  /** What the environment serves once the draft is in force, compared with what it serves now. */
  definitions(): DefinitionChange[] {
    const served = this.#core.committer.flagSetOf(this.#environment).segmentKeys;
    return [
      ...[...this.#targetings].flatMap(([flagKey, { now }]) => {
        const flag = this.#flags.get(flagKey);
        return flag === undefined ? [] : [{ put: flagDefinitionOf(flag, now) }];
      }),
      ...[...this.#segments.values()].flatMap(({ now }) =>
        now.archivedAt === null ? [{ put: segmentDefinitionOf(now) }] : [],
      ),
      ...[...this.#chunks].flatMap(([key, chunk]) => (served.get(key) === chunk ? [] : [{ put: chunk }])),
      ...[...served.keys()].flatMap((key) =>
        this.#chunks.has(key) ? [] : [{ remove: { kind: 'segment-keys' as const, key } }],
      ),
    ];
  }

  records(): RecordWrite[] {
    return [
      ...[...this.#targetings].map(([flagKey, { read, now }]) => ({
        key: keys.targeting(this.#environment, flagKey),
        read,
        value: now,
      })),
      ...[...this.#segments].map(([segmentKey, { read, now }]) => ({
        key: keys.segment(this.#environment, segmentKey),
        read,
        value: now,
      })),
    ];
  }

  relied(): RecordRead[] {
    const { tenantId, projectId } = this.#environment;
    return [...this.#flags].map(([flagKey, read]) => ({ key: keys.flag(tenantId, projectId, flagKey), read }));
  }

  /** Of the operation that touched it last. */
  pointerTo(kind: 'flag' | 'segment', key: string): string | undefined {
    return (kind === 'flag' ? this.#targetings : this.#segments).get(key)?.pointer;
  }

  details(): Json | undefined {
    return this.#details.length === 0 ? undefined : this.#details;
  }

  /** Everything touched, as callers see it. */
  view(side: 'read' | 'now'): unknown {
    const environmentKey = this.#found.environment.key;
    return {
      targetings: Object.fromEntries(
        [...this.#targetings].map(([key, drafted]) => [key, viewTargeting(key, environmentKey, drafted[side])]),
      ),
      segments: Object.fromEntries([...this.#segments].map(([key, drafted]) => [key, viewSegment(drafted[side])])),
    };
  }

  versions(): { targetings: Record<string, { version: number }>; segments: Record<string, { version: number }> } {
    const versionsOf = (drafts: ReadonlyMap<string, Drafted<Versioned>>) =>
      Object.fromEntries([...drafts].map(([key, { now }]) => [key, { version: now.version }]));
    return { targetings: versionsOf(this.#targetings), segments: versionsOf(this.#segments) };
  }
}

/** Edits of key lists whose details the audit entry keeps; the digests of before and after hold for all. */
const DETAILS_MAX = 5;

function dangling(pointer: string, detail: string): PlatformError {
  return new PlatformError('dangling-reference', detail, { issues: [{ pointer, code: 'dangling-reference', detail }] });
}
