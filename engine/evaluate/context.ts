import { LIMITS } from '@guidon/protocol';
import { isScalarText, toScalarText } from '../flag-model/text.js';

/** An object of a context: its members are read as own properties only. */
export type ContextObject = Readonly<Record<string, unknown>>;

/** A context that can be evaluated: what is known of each kind. May be empty: a multi context without any kind. */
export type ContextKinds = ReadonlyMap<string, ContextObject>;

export function isObject(value: unknown): value is ContextObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Reads a decoded context. Undefined (ERROR/INVALID_CONTEXT for every flag) when it is no object, its `kind` is neither absent nor a
 * non-empty string, or it is over a limit.
 */
export function readContext(value: unknown): ContextKinds | undefined {
  if (!isObject(value) || checkContextLimits(value) !== undefined) return undefined;
  const context = toScalarContext(value);
  const kind = ownMember(context, 'kind') ?? 'user';
  if (typeof kind !== 'string' || kind === '') return undefined;
  if (kind !== 'multi') return new Map([[kind, context]]);
  const kinds = new Map<string, ContextObject>();
  for (const [name, member] of Object.entries(context)) {
    if (name !== 'kind' && isObject(member)) kinds.set(name, member);
  }
  return kinds;
}

/** The targeting key of each kind that has a text for one: what key lists of segments are asked for. Empty when it is not valid. */
export function targetingKeysOf(context: unknown): ReadonlyMap<string, string> {
  const keys = new Map<string, string>();
  for (const [kind, members] of readContext(context) ?? []) {
    const key = ownMember(members, 'targetingKey');
    if (typeof key === 'string') keys.set(kind, key);
  }
  return keys;
}

/** Which limit a decoded context is over. Its bytes are counted where they are received. */
export function checkContextLimits(context: unknown): 'depth' | 'attributes' | undefined {
  const tally = { attributeCount: 0 };
  if (isDeeperThan(context, LIMITS.contextDepth, tally)) return 'depth';
  return tally.attributeCount > LIMITS.contextAttributes ? 'attributes' : undefined;
}

/** The object is depth 1, each nested object or array 1 more. Never recurses further than `depthMax`, also into a cyclic value. */
function isDeeperThan(value: unknown, depthMax: number, tally: { attributeCount: number }): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (depthMax === 0) return true;
  const members = Object.values(value);
  if (!Array.isArray(value)) tally.attributeCount += members.length;
  // Over the one limit, the other need not be looked for; this also ends the walk over a value that contains itself many times.
  if (tally.attributeCount > LIMITS.contextAttributes) return false;
  return members.some((member) => isDeeperThan(member, depthMax - 1, tally));
}

export function ownMember(object: ContextObject, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

/** The context with U+FFFD for each lone surrogate; itself when it has none. */
export function toScalarContext(context: ContextObject): ContextObject {
  return hasLoneSurrogate(context) ? (withScalarTexts(context) as ContextObject) : context;
}

function hasLoneSurrogate(value: unknown): boolean {
  if (typeof value === 'string') return !isScalarText(value);
  if (Array.isArray(value)) return value.some(hasLoneSurrogate);
  return (
    isObject(value) && Object.entries(value).some(([name, member]) => !isScalarText(name) || hasLoneSurrogate(member))
  );
}

/** Names too. Where two names become one, the later wins, as with duplicate names in JSON. */
function withScalarTexts(value: unknown): unknown {
  if (typeof value === 'string') return toScalarText(value);
  if (Array.isArray(value)) return value.map(withScalarTexts);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [toScalarText(name), withScalarTexts(member)] as const),
  );
}
