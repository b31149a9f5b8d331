import {
  checkFlagSet,
  type Definition,
  type FlagDefinition,
  type FlagSet,
  findDanglingReferences,
  segmentReferencesOf,
} from '@guidon/engine';
import { type Issue, LIMITS } from '@guidon/protocol';
import type { DefinitionChange } from '../commit/change.js';
import { EMPTY_FLAG_SET, withDefinitions } from '../commit/environment-workspace.js';
import { refusal } from './flag-input.js';

/** Where in the body of the request a flag or segment was given; undefined when the request did not hold it. */
export type LocateDefinition = (kind: 'flag' | 'segment', key: string) => string | undefined;

/**
 * Refuses definitions that do not fit the rest of their environment: references to what is not there, cycles, too many of something.
 * The compiler would refuse most of it as well; here the pointers go into the body that the caller sent.
 */
export function assertFits(base: FlagSet, changes: readonly DefinitionChange[], locate: LocateDefinition): void {
  const put = changes.flatMap((change) => ('put' in change ? [change.put] : []));
  const removed = changes.flatMap((change) => ('remove' in change ? [change.remove] : []));
  // Nobody names what is new, and what names the same as before changes nothing for the rest, which need not be looked at.
  const added = put.filter((definition) => definition.kind === 'flag' && !base.flags.has(definition.key));
  const isRestUntouched =
    removed.length === 0 &&
    base.flags.size + added.length <= LIMITS.flagsPerEnvironment &&
    put.every((definition) => added.includes(definition) || namesTheSame(base, definition));
  const flagSet = isRestUntouched ? reachedBy(base, put) : withDefinitions(base, put, removed);
  const changedPlaces = new Set(put.flatMap((definition) => placeOf(definition) ?? []));
  // What dangled before is not this caller's doing and must not stand in the way.
  const dangling = findDanglingReferences(flagSet).filter((issue) => changedPlaces.has(placeIn(issue.pointer)));
  const known = new Set(dangling.map(({ pointer }) => pointer));
  const others = checkFlagSet(flagSet, new Set<Definition>(put)).filter(
    ({ pointer, code }) => !known.has(pointer) && !(isRestUntouched && code === 'dangling-reference'),
  );
  const issues = [...dangling, ...others];
  if (issues.length > 0) throw refusal(issues.map((issue) => located(issue, locate)));
}

/** Whether it is a flag in the place of one with the same variations that names the same flags and segments. */
function namesTheSame({ flags }: FlagSet, definition: Definition): boolean {
  const before = definition.kind === 'flag' ? flags.get(definition.key) : undefined;
  return before !== undefined && definition.kind === 'flag' && namesIn(before) === namesIn(definition);
}

function namesIn(flag: FlagDefinition): string {
  const segments = segmentReferencesOf(flag).map(({ segment }) => segment);
  return JSON.stringify([flag.variations.map(({ key }) => key), flag.requires, flag.prerequisites, segments]);
}

/** The definitions with all that they reach, which is all that a check of them looks at. */
function reachedBy(base: FlagSet, put: readonly Definition[]): FlagSet {
  const { flags, segments } = withDefinitions(EMPTY_FLAG_SET, put, []);
  const reachedFlags = new Map(flags);
  const reachedSegments = new Map(segments);
  // A map that grows while it is walked is walked to its new end.
  for (const flag of reachedFlags.values()) {
    for (const { flag: key } of flag.prerequisites) reach(reachedFlags, base.flags, key);
    for (const { segment } of segmentReferencesOf(flag)) reach(reachedSegments, base.segments, segment);
  }
  for (const segment of reachedSegments.values()) {
    for (const { segment: key } of segmentReferencesOf(segment)) reach(reachedSegments, base.segments, key);
  }
  return { ...EMPTY_FLAG_SET, flags: reachedFlags, segments: reachedSegments };
}

function reach<Kind>(reached: Map<string, Kind>, all: ReadonlyMap<string, Kind>, key: string): void {
  const found = all.get(key);
  if (found !== undefined && !reached.has(key)) reached.set(key, found);
}

function placeOf(definition: Definition): string | undefined {
  return definition.kind === 'segment-keys' ? undefined : `/${definition.kind}s/${definition.key}`;
}

/** The first two parts of `/flags/<key>/…`; keys need no escapes. */
function placeIn(pointer: string): string {
  return pointer.split('/').slice(0, 3).join('/');
}

function located(issue: Issue, locate: LocateDefinition): Issue {
  const [, folder, key, ...rest] = issue.pointer.split('/');
  if (key === undefined || (folder !== 'flags' && folder !== 'segments')) return issue;
  const place = locate(folder === 'flags' ? 'flag' : 'segment', key);
  return place === undefined ? issue : { ...issue, pointer: [place, ...rest].join('/') };
}
