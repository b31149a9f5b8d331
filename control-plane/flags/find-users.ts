import type { Condition, FlagDefinition, SegmentDefinition, Serve } from '@guidon/engine';
import { type Issue, PlatformError } from '@guidon/protocol';

/** What one environment serves, to look for users in. Archived flags and segments are not in it. */
export interface ServedDefinitions {
  readonly environmentKey: string;
  readonly flags: readonly FlagDefinition[];
  readonly segments: readonly SegmentDefinition[];
}

/** The members of a flag's targeting that name variations. */
type VariationUses = Pick<FlagDefinition, 'offVariation' | 'targets' | 'rules' | 'fallthrough'>;

/** Flags that have `flagKey` as a prerequisite; the flag itself does not count. */
export function findFlagUsers(served: ServedDefinitions, flagKey: string): Issue[] {
  return findPrerequisites(served, flagKey, () => true);
}

/** Flags whose prerequisite on `flagKey` lists one of `variations`. */
export function findPrerequisiteUsers(
  served: ServedDefinitions,
  flagKey: string,
  variations: ReadonlySet<string>,
): Issue[] {
  return findPrerequisites(served, flagKey, (listed) => listed.some((variation) => variations.has(variation)));
}

function findPrerequisites(
  served: ServedDefinitions,
  flagKey: string,
  isUse: (variations: readonly string[]) => boolean,
): Issue[] {
  return served.flags.flatMap((flag) => {
    if (flag.key === flagKey) return [];
    const at = targetingPointer(served.environmentKey, flag.key);
    return flag.prerequisites.flatMap((prerequisite, index) =>
      prerequisite.flag === flagKey && isUse(prerequisite.variations)
        ? [inUse(`${at}/prerequisites/${index}`, `flag ${flag.key} has it as a prerequisite`)]
        : [],
    );
  });
}

/** Where a flag's own targeting in one environment serves one of `variations`. */
export function findVariationUsers(
  environmentKey: string,
  flagKey: string,
  targeting: VariationUses,
  variations: ReadonlySet<string>,
): Issue[] {
  const at = targetingPointer(environmentKey, flagKey);
  const serves = (serve: Serve): boolean =>
    'variation' in serve
      ? variations.has(serve.variation)
      : serve.rollout.weights.some(({ variation }) => variations.has(variation));
  return [
    ...(variations.has(targeting.offVariation) ? [inUse(`${at}/offVariation`, 'it is the off variation')] : []),
    ...targeting.targets.flatMap((target, index) =>
      variations.has(target.variation) ? [inUse(`${at}/targets/${index}/variation`, 'individual targets get it')] : [],
    ),
    ...targeting.rules.flatMap((rule, index) =>
      serves(rule.serve) ? [inUse(`${at}/rules/${index}/serve`, `rule ${rule.id} serves it`)] : [],
    ),
    ...(serves(targeting.fallthrough) ? [inUse(`${at}/fallthrough`, 'the fallthrough serves it')] : []),
  ];
}

/** Flags and other segments of the environment that look into `segmentKey`. */
export function findSegmentUsers(served: ServedDefinitions, segmentKey: string): Issue[] {
  const usersIn = (
    rules: readonly { readonly when: Condition }[],
    at: string,
    describe: (index: number) => string,
  ): Issue[] =>
    rules.flatMap((rule, index) =>
      findSegmentPointers(rule.when, segmentKey).map((path) =>
        inUse(`${at}/rules/${index}/when${path}`, describe(index)),
      ),
    );
  const environmentAt = `/environments/${served.environmentKey}`;
  return [
    ...served.flags.flatMap((flag) =>
      usersIn(
        flag.rules,
        targetingPointer(served.environmentKey, flag.key),
        (index) => `rule ${flag.rules[index]?.id} of flag ${flag.key} looks into it`,
      ),
    ),
    ...served.segments.flatMap((segment) =>
      segment.key === segmentKey
        ? []
        : usersIn(
            segment.rules,
            `${environmentAt}/segments/${segment.key}`,
            () => `segment ${segment.key} looks into it`,
          ),
    ),
  ];
}

/** JSON pointers below `condition` of the entries that name the segment. */
function findSegmentPointers(condition: Condition, segmentKey: string): string[] {
  if ('not' in condition) return findSegmentPointers(condition.not, segmentKey).map((path) => `/not${path}`);
  if ('all' in condition) return findInGroup(condition.all, '/all', segmentKey);
  if ('any' in condition) return findInGroup(condition.any, '/any', segmentKey);
  if (!('segment' in condition)) return [];
  return condition.segment.flatMap((key, index) => (key === segmentKey ? [`/segment/${index}`] : []));
}

function findInGroup(conditions: readonly Condition[], at: string, segmentKey: string): string[] {
  return conditions.flatMap((condition, index) =>
    findSegmentPointers(condition, segmentKey).map((path) => `${at}/${index}${path}`),
  );
}

/** Keys hold neither `/` nor `~`, so they need no escapes. */
function targetingPointer(environmentKey: string, flagKey: string): string {
  return `/environments/${environmentKey}/flags/${flagKey}/targeting`;
}

function inUse(pointer: string, detail: string): Issue {
  return { pointer, code: 'in-use', detail };
}

/** 409 with a pointer to every user, when there is one. */
export function refuseInUse(users: readonly Issue[], detail: string): void {
  if (users.length > 0) throw new PlatformError('in-use', detail, { issues: users });
}
