import { LIMITS } from '@guidon/protocol';
import type { FlagDefinition, FlagType, Prerequisite, Rule, Target, Variation } from './definitions.js';
import { Input, Issues, type ObjectInput, type Parsed } from './input.js';
import { asContextKind, asKey, asTargetingKeys, RULE_ID_PATTERN } from './keys.js';
import { asCondition, checkRegexCounts, DefinitionCounts } from './parse-condition.js';
import { asServe, asVariationKey, type VariationKeys } from './parse-rollout.js';

/** A rule as people edit it. The name stays in the control plane: it is no part of a definition. */
export interface NamedRule extends Rule {
  readonly name?: string;
}

/** What one environment says about a flag. Never holds the salt: that is made once and not accepted from outside. */
export type Targeting = Pick<FlagDefinition, 'on' | 'offVariation' | 'prerequisites' | 'targets' | 'fallthrough'> & {
  readonly rules: readonly NamedRule[];
};

export const TARGETING_MEMBERS = ['on', 'offVariation', 'prerequisites', 'targets', 'rules', 'fallthrough'] as const;

/** Characters of a rule's name. */
const RULE_NAME_CHARS_MAX = 256;

/** The targeting of a flag that has these variations, as the admin API receives it: all members, rules may carry a `name`. */
export function parseTargeting(
  value: unknown,
  flag: { readonly type: FlagType; readonly variations: readonly Variation[] },
): Parsed<Targeting> {
  const issues = new Issues();
  const input = new Input(value, '', issues);
  const members = input.asObject(TARGETING_MEMBERS);
  const known = new Set(flag.variations.map((variation) => variation.key));
  return issues.finish(members && readTargeting(input, members, known, true));
}

/** Reads the members of `TARGETING_MEMBERS`. `input` is the object that holds them. */
export function readTargeting(
  input: Input,
  members: ObjectInput,
  known: VariationKeys,
  hasRuleNames: boolean,
): Targeting | undefined {
  const counts = new DefinitionCounts();
  const on = members.read('on', (member) => member.asBoolean());
  const offVariation = members.read('offVariation', (member) => asVariationKey(member, known));
  const prerequisites = members.read('prerequisites', (member) =>
    member.asList(LIMITS.prerequisitesPerFlag, asPrerequisite),
  );
  const targets = members.read('targets', (member) => asTargets(member, known));
  const rules = members.read('rules', (member) => asRules(member, known, counts, hasRuleNames));
  const fallthrough = members.read('fallthrough', (member) => asServe(member, known));
  checkRegexCounts(input, counts);
  if (on === undefined || offVariation === undefined || fallthrough === undefined) return undefined;
  if (prerequisites === undefined || targets === undefined || rules === undefined) return undefined;
  return { on, offVariation, prerequisites, targets, rules, fallthrough };
}

/** Whether the other flag has these variations is a matter of the whole set: checkFlagSet. */
function asPrerequisite(input: Input): Prerequisite | undefined {
  const members = input.asObject(['flag', 'variations']);
  const flag = members?.read('flag', asKey);
  const variations = members?.read('variations', (member) => {
    const keys = member.asList(LIMITS.variationsPerFlag, asKey);
    return keys?.length === 0 ? member.fail('validation-failed', 'must name at least one variation') : keys;
  });
  return flag === undefined || variations === undefined ? undefined : { flag, variations };
}

function asTargets(input: Input, known: VariationKeys): Target[] | undefined {
  const targets = input.asList(LIMITS.targetsPerFlag, (element) => asTarget(element, known));
  if (targets === undefined) return undefined;
  const keyCount = targets.reduce((total, target) => total + target.keys.length, 0);
  if (keyCount > LIMITS.targetKeysPerFlag) {
    return input.fail('limit-exceeded', `all targets of a flag have at most ${LIMITS.targetKeysPerFlag} keys together`);
  }
  refuseRepeatedKeys(input, targets);
  return targets;
}

/** The first entry would win and the second be dead, which nobody who wrote it expects. */
function refuseRepeatedKeys(input: Input, targets: readonly Target[]): void {
  const seen = new Map<string, Set<string>>();
  for (const [targetIndex, target] of targets.entries()) {
    const keys = seen.get(target.contextKind) ?? new Set<string>();
    seen.set(target.contextKind, keys);
    for (const [keyIndex, key] of target.keys.entries()) {
      const pointer = `${input.pointer}/${targetIndex}/keys/${keyIndex}`;
      if (keys.has(key)) input.issues.add(pointer, 'validation-failed', 'this key has an entry of this kind already');
      keys.add(key);
    }
  }
}

function asTarget(input: Input, known: VariationKeys): Target | undefined {
  const members = input.asObject(['contextKind', 'variation', 'keys']);
  const contextKind = members?.read('contextKind', asContextKind);
  const variation = members?.read('variation', (member) => asVariationKey(member, known));
  const keys = members?.read('keys', (member) => asTargetingKeys(member, LIMITS.targetKeysPerFlag));
  if (contextKind === undefined || variation === undefined || keys === undefined) return undefined;
  return { contextKind, variation, keys };
}

function asRules(
  input: Input,
  known: VariationKeys,
  counts: DefinitionCounts,
  hasNames: boolean,
): NamedRule[] | undefined {
  const rules = input.asList(LIMITS.rulesPerFlag, (element) => asRule(element, known, counts, hasNames));
  const seen = new Set<string>();
  for (const [index, { id }] of rules?.entries() ?? []) {
    const pointer = `${input.pointer}/${index}/id`;
    if (seen.has(id)) input.issues.add(pointer, 'validation-failed', `the rule id ${id} is used twice`);
    seen.add(id);
  }
  return rules;
}

function asRule(input: Input, known: VariationKeys, counts: DefinitionCounts, hasName: boolean): NamedRule | undefined {
  const members = input.asObject(hasName ? ['id', 'name', 'when', 'serve'] : ['id', 'when', 'serve']);
  const id = members?.read('id', (member) => member.asMatching(RULE_ID_PATTERN, 'a rule id'));
  const name = hasName ? members?.readOptional('name', asRuleName) : undefined;
  const when = members?.read('when', (member) => asCondition(member, counts));
  const serve = members?.read('serve', (member) => asServe(member, known));
  if (id === undefined || when === undefined || serve === undefined) return undefined;
  return { id, ...(name === undefined ? {} : { name }), when, serve };
}

function asRuleName(input: Input): string | undefined {
  const name = input.asString();
  if (name === undefined || name.length <= RULE_NAME_CHARS_MAX) return name;
  return input.fail('limit-exceeded', `must have at most ${RULE_NAME_CHARS_MAX} characters`);
}
