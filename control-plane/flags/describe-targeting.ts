import type { NamedRule, Serve, Target, Targeting } from '@guidon/engine';
import { ROLLOUT_WEIGHT_TOTAL } from '@guidon/protocol';

/** What changed between two targetings, a sentence each, in the order of evaluation. Empty when nothing did. */
export function describeTargetingChange(before: Targeting, after: Targeting): string[] {
  const sentences: string[] = [];
  if (before.on !== after.on) sentences.push(after.on ? 'turned on' : 'turned off');
  if (before.offVariation !== after.offVariation) {
    sentences.push(`off variation changed from ${before.offVariation} to ${after.offVariation}`);
  }
  sentences.push(
    ...describePrerequisites(before, after),
    ...describeTargets(before.targets, after.targets),
    ...describeRules(before.rules, after.rules),
  );
  if (!isSame(before.fallthrough, after.fallthrough)) {
    sentences.push(
      `fallthrough serves ${describeServe(after.fallthrough)} instead of ${describeServe(before.fallthrough)}`,
    );
  }
  return sentences;
}

/** `on`, or `20 % on, 80 % off by user targetingKey`. */
export function describeServe(serve: Serve): string {
  if ('variation' in serve) return serve.variation;
  const { weights, contextKind = 'user', bucketBy = 'targetingKey', layer, experiment, seed } = serve.rollout;
  const shares = weights.map(({ variation, weight }) => `${percentOf(weight)} ${variation}`).join(', ');
  return [
    `${shares} by ${contextKind} ${bucketBy}`,
    ...(seed === undefined ? [] : ['with a seed of its own']),
    ...(layer === undefined ? [] : [`in layer ${layer.key} from ${layer.from} to ${layer.to}`]),
    ...(experiment === undefined ? [] : [`for experiment ${experiment}`]),
  ].join(' ');
}

function percentOf(weight: number): string {
  return `${(weight * 100) / ROLLOUT_WEIGHT_TOTAL} %`;
}

function describePrerequisites(before: Targeting, after: Targeting): string[] {
  const text = (prerequisite: Targeting['prerequisites'][number]): string =>
    `${prerequisite.flag} (${prerequisite.variations.join(' or ')})`;
  const old = before.prerequisites.map(text);
  const now = after.prerequisites.map(text);
  const added = now.filter((entry) => !old.includes(entry));
  const removed = old.filter((entry) => !now.includes(entry));
  if (added.length === 0 && removed.length === 0) return isSame(old, now) ? [] : ['prerequisites reordered'];
  return [
    ...added.map((entry) => `prerequisite ${entry} added`),
    ...removed.map((entry) => `prerequisite ${entry} removed`),
  ];
}

function describeTargets(before: readonly Target[], after: readonly Target[]): string[] {
  if (isSame(before, after)) return [];
  const groups = new Map<string, { target: Target; added: Set<string>; removed: Set<string> }>();
  const groupOf = (target: Target) => {
    const name = `${target.contextKind}\0${target.variation}`;
    const group = groups.get(name) ?? { target, added: new Set(), removed: new Set() };
    groups.set(name, group);
    return group;
  };
  for (const target of before) for (const key of target.keys) groupOf(target).removed.add(key);
  for (const target of after) {
    const group = groupOf(target);
    for (const key of target.keys) if (!group.removed.delete(key)) group.added.add(key);
  }
  const sentences = [...groups.values()].flatMap(({ target, added, removed }) => [
    ...(added.size > 0
      ? [`${countOf(added.size, 'key')} of kind ${target.contextKind} now get ${target.variation}`]
      : []),
    ...(removed.size > 0
      ? [`${countOf(removed.size, 'key')} of kind ${target.contextKind} no longer get ${target.variation}`]
      : []),
  ]);
  return sentences.length > 0 ? sentences : ['individual targets reordered'];
}

function describeRules(before: readonly NamedRule[], after: readonly NamedRule[]): string[] {
  const old = new Map(before.map((rule) => [rule.id, rule]));
  const now = new Map(after.map((rule) => [rule.id, rule]));
  const sentences = [
    ...after.flatMap((rule, index) =>
      old.has(rule.id) ? [] : [`rule ${rule.id} added at position ${index + 1}, serves ${describeServe(rule.serve)}`],
    ),
    ...before.flatMap((rule) => (now.has(rule.id) ? [] : [`rule ${rule.id} removed`])),
    ...after.flatMap((rule) => describeRule(old.get(rule.id), rule)),
  ];
  const oldOrder = before.map(({ id }) => id).filter((id) => now.has(id));
  const newOrder = after.map(({ id }) => id).filter((id) => old.has(id));
  if (!isSame(oldOrder, newOrder)) sentences.push(`rules reordered to ${after.map(({ id }) => id).join(', ')}`);
  return sentences;
}

function describeRule(before: NamedRule | undefined, after: NamedRule): string[] {
  if (before === undefined) return [];
  return [
    ...(before.name === after.name ? [] : [`rule ${after.id} renamed`]),
    ...(isSame(before.when, after.when) ? [] : [`condition of rule ${after.id} changed`]),
    ...(isSame(before.serve, after.serve)
      ? []
      : [`rule ${after.id} serves ${describeServe(after.serve)} instead of ${describeServe(before.serve)}`]),
  ];
}

export function countOf(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}

/** The flag model's shapes are JSON with optional members: one that is undefined is not there. */
function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  return (
    countOfPresent(a) === countOfPresent(b) &&
    Object.entries(a).every(([name, value]) => isSame(value, memberOf(b, name)))
  );
}

function countOfPresent(value: object): number {
  let count = 0;
  for (const member of Object.values(value)) if (member !== undefined) count += 1;
  return count;
}

function memberOf(value: object, name: string): unknown {
  return Object.hasOwn(value, name) ? (value as Readonly<Record<string, unknown>>)[name] : undefined;
}
