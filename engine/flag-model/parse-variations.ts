import { type Json, LIMITS } from '@guidon/protocol';
import type { FlagType, Variation } from './definitions.js';
import { Input, Issues, isPlainObject, type Parsed, pointerTo } from './input.js';
import { asKey } from './keys.js';
import { isScalarText, utf8Bytes } from './text.js';

/** The variations of a flag of this type, as the admin API receives them (key and value only). */
export function parseVariations(value: unknown, type: FlagType): Parsed<Variation[]> {
  const issues = new Issues();
  return issues.finish(asVariations(new Input(value, '', issues), type));
}

/** `type` is undefined when it did not parse: then values of every type pass, so that the other issues show. */
export function asVariations(input: Input, type: FlagType | undefined): Variation[] | undefined {
  const variations = input.asList(LIMITS.variationsPerFlag, (element) => asVariation(element, type));
  if (variations === undefined) return undefined;
  if (variations.length === 0) return input.fail('validation-failed', 'a flag has at least one variation');
  if (type === 'boolean' && variations.length !== 2) {
    return input.fail('validation-failed', 'a boolean flag has exactly two variations');
  }
  const seen = new Set<string>();
  let bytes = 0;
  for (const [index, variation] of variations.entries()) {
    // Keys that differ by case alone are told apart by nobody who reads them.
    const folded = variation.key.toLowerCase();
    if (seen.has(folded)) {
      const detail = `the key ${variation.key} is used twice (case does not count)`;
      input.issues.add(`${input.pointer}/${index}/key`, 'validation-failed', detail);
    }
    seen.add(folded);
    bytes += jsonBytes(variation.value);
  }
  if (bytes <= LIMITS.flagValueBytes) return variations;
  return input.fail('limit-exceeded', `all values of a flag have at most ${LIMITS.flagValueBytes} JSON bytes together`);
}

function asVariation(input: Input, type: FlagType | undefined): Variation | undefined {
  const members = input.asObject(['key', 'value']);
  const key = members?.read('key', asKey);
  const value = members?.read('value', (member) => asFlagValue(member, type));
  return key === undefined || value === undefined ? undefined : { key, value };
}

function asFlagValue(input: Input, type: FlagType | undefined): Json | undefined {
  if (type !== undefined && type !== 'json' && typeof input.value !== type) {
    return input.fail('validation-failed', `must be a ${type}`);
  }
  const value = asJson(input, LIMITS.valueDepth);
  if (value === undefined || jsonBytes(value) <= LIMITS.valueBytes) return value;
  return input.fail('limit-exceeded', `a value has at most ${LIMITS.valueBytes} JSON bytes`);
}

/** A copy of a JSON value whose objects and arrays nest at most `depthMax` deep. */
export function asJson(input: Input, depthMax: number): Json | undefined {
  const { value } = input;
  if (value === null || typeof value === 'boolean') return value;
  if (typeof value === 'string') return input.asString();
  if (typeof value === 'number') {
    return Number.isFinite(value) ? value + 0 : input.fail('validation-failed', 'must be a finite number');
  }
  if (!Array.isArray(value) && !isPlainObject(value)) return input.fail('validation-failed', 'must be a JSON value');
  if (depthMax === 0) return input.fail('limit-exceeded', `a value nests at most ${LIMITS.valueDepth} deep`);
  if (Array.isArray(value)) return input.asList(value.length, (element) => asJson(element, depthMax - 1));
  return asJsonObject(input, value, depthMax);
}

function asJsonObject(input: Input, value: Record<string, unknown>, depthMax: number): Json | undefined {
  const entries: [string, Json][] = [];
  const names = Object.keys(value);
  for (const name of names) {
    const member = new Input(value[name], pointerTo(input.pointer, name), input.issues);
    if (!isScalarText(name)) member.fail('validation-failed', 'the name holds a lone surrogate');
    const parsed = asJson(member, depthMax - 1);
    if (parsed !== undefined) entries.push([name, parsed]);
  }
  // fromEntries defines own properties, also one named `__proto__`.
  return entries.length === names.length ? Object.fromEntries(entries) : undefined;
}

function jsonBytes(value: Json): number {
  return utf8Bytes(JSON.stringify(value));
}
