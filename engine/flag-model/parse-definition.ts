import { LIMITS } from '@guidon/protocol';
import {
  type Definition,
  type FlagDefinition,
  isServable,
  type SegmentDefinition,
  type SegmentKeysDefinition,
  type SegmentRule,
} from './definitions.js';
import { Input, Issues, isPlainObject, type ObjectInput, type Parsed } from './input.js';
import { asContextKind, asKey, asRequires, asSalt, asTargetingKeys } from './keys.js';
import { asCondition, checkRegexCounts, DefinitionCounts } from './parse-condition.js';
import { asSegmentRollout } from './parse-rollout.js';
import { readTargeting, TARGETING_MEMBERS } from './parse-targeting.js';
import { asVariations } from './parse-variations.js';
import { compareUtf8 } from './text.js';

/**
 * A definition that is not servable (`isServable`) may hold anything: it is read only as far as its identity (key, type, clientSide,
 * salt, requires) and the rest is left empty, so that one flag from the future never refuses a whole revision. Keep its bytes: the
 * digest is theirs, not that of what was understood.
 */
export function parseDefinition(value: unknown): Parsed<Definition> {
  return parseWith(value, (input) => {
    const kind = isPlainObject(value) && Object.hasOwn(value, 'kind') ? value.kind : undefined;
    if (kind === 'flag') return asFlag(input);
    if (kind === 'segment') return asSegment(input);
    if (kind === 'segment-keys') return asSegmentKeys(input);
    input.issues.add('/kind', 'validation-failed', 'must be flag, segment or segment-keys');
    return undefined;
  });
}

export function parseFlagDefinition(value: unknown): Parsed<FlagDefinition> {
  return parseWith(value, asFlag);
}

export function parseSegmentDefinition(value: unknown): Parsed<SegmentDefinition> {
  return parseWith(value, asSegment);
}

export function parseSegmentKeysDefinition(value: unknown): Parsed<SegmentKeysDefinition> {
  return parseWith(value, asSegmentKeys);
}

/** The rules of a segment, as the admin API receives them. */
export function parseSegmentRules(value: unknown): Parsed<SegmentRule[]> {
  return parseWith(value, asSegmentRules);
}

/** Keys of one list of a segment, or of one target, as the admin API receives them. Repeated keys are kept. */
export function parseTargetingKeys(value: unknown): Parsed<string[]> {
  return parseWith(value, (input) => asTargetingKeys(input, LIMITS.segmentKeys));
}

function parseWith<T>(value: unknown, parse: (input: Input) => T | undefined): Parsed<T> {
  const issues = new Issues();
  return issues.finish(parse(new Input(value, '', issues)));
}

/** What `value` requires, where that can be read: decides how much of the rest is looked at. */
function isBeyondUs(input: Input): boolean {
  const { value } = input;
  if (!isPlainObject(value) || !Object.hasOwn(value, 'requires')) return false;
  const requires = asRequires(new Input(value.requires, '', new Issues()));
  return requires !== undefined && !isServable({ requires });
}

const FLAG_IDENTITY_MEMBERS = ['kind', 'key', 'type', 'clientSide', 'salt', 'requires'] as const;
const FLAG_MEMBERS = [...FLAG_IDENTITY_MEMBERS, 'variations', ...TARGETING_MEMBERS];

function asFlag(input: Input): FlagDefinition | undefined {
  const isUnservable = isBeyondUs(input);
  const members = asMembers(input, FLAG_MEMBERS, isUnservable);
  if (members === undefined) return undefined;
  members.read('kind', (member) => member.asOneOf(['flag']));
  const key = members.read('key', asKey);
  const type = members.read('type', (member) => member.asOneOf(['boolean', 'string', 'number', 'json']));
  const clientSide = members.read('clientSide', (member) => member.asBoolean());
  const salt = members.read('salt', asSalt);
  const requires = members.read('requires', asRequires);
  const variations = isUnservable ? [] : members.read('variations', (member) => asVariations(member, type));
  const known = variations && new Set(variations.map((variation) => variation.key));
  const targeting = isUnservable ? UNSERVABLE_TARGETING : readTargeting(input, members, known, false);
  if (key === undefined || type === undefined || clientSide === undefined || salt === undefined) return undefined;
  if (requires === undefined || variations === undefined || targeting === undefined) return undefined;
  return { kind: 'flag', key, type, clientSide, variations, ...targeting, salt, requires };
}

const UNSERVABLE_TARGETING = {
  on: false,
  offVariation: '',
  prerequisites: [],
  targets: [],
  rules: [],
  fallthrough: { variation: '' },
};

/** Of a definition that is beyond this evaluator, members with names from the future are no mistake. */
function asMembers(input: Input, names: readonly string[], isUnservable: boolean): ObjectInput | undefined {
  return input.asObject(isUnservable && isPlainObject(input.value) ? Object.keys(input.value) : names);
}

function asSegment(input: Input): SegmentDefinition | undefined {
  const isUnservable = isBeyondUs(input);
  const members = asMembers(input, ['kind', 'key', 'rules', 'salt', 'requires'], isUnservable);
  if (members === undefined) return undefined;
  members.read('kind', (member) => member.asOneOf(['segment']));
  const key = members.read('key', asKey);
  const rules = isUnservable ? [] : members.read('rules', asSegmentRules);
  const salt = members.read('salt', asSalt);
  const requires = members.read('requires', asRequires);
  if (key === undefined || rules === undefined || salt === undefined || requires === undefined) return undefined;
  return { kind: 'segment', key, rules, salt, requires };
}

function asSegmentRules(input: Input): SegmentRule[] | undefined {
  const counts = new DefinitionCounts();
  const rules = input.asList(LIMITS.segmentRules, (element) => {
    const members = element.asObject(['when', 'rollout']);
    const when = members?.read('when', (member) => asCondition(member, counts));
    const rollout = members?.readOptional('rollout', asSegmentRollout);
    return when === undefined ? undefined : { when, ...(rollout === undefined ? {} : { rollout }) };
  });
  checkRegexCounts(input, counts);
  return rules;
}

function asSegmentKeys(input: Input): SegmentKeysDefinition | undefined {
  const members = input.asObject(['kind', 'segment', 'list', 'contextKind', 'prefix', 'keys']);
  if (members === undefined) return undefined;
  members.read('kind', (member) => member.asOneOf(['segment-keys']));
  const segment = members.read('segment', asKey);
  const list = members.read('list', (member) => member.asOneOf(['included', 'excluded']));
  const contextKind = members.read('contextKind', asContextKind);
  const prefix = members.read('prefix', (member) => member.asMatching(/^[01]{0,32}$/, 'a chunk prefix'));
  const keys = members.read('keys', asSortedKeys);
  if (segment === undefined || list === undefined || contextKind === undefined) return undefined;
  if (prefix === undefined || keys === undefined) return undefined;
  return { kind: 'segment-keys', segment, list, contextKind, prefix, keys };
}

function asSortedKeys(input: Input): string[] | undefined {
  const keys = asTargetingKeys(input, LIMITS.keysPerSegmentChunk);
  if (keys === undefined) return undefined;
  if (keys.length === 0) return input.fail('validation-failed', 'a chunk holds at least one key');
  let last: string | undefined;
  for (const [index, key] of keys.entries()) {
    if (last !== undefined && compareUtf8(last, key) >= 0) {
      const detail = 'keys are sorted by their UTF-8 bytes, no key twice';
      input.issues.add(`${input.pointer}/${index}`, 'validation-failed', detail);
      return undefined;
    }
    last = key;
  }
  return keys;
}
