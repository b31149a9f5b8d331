import { LIMITS } from '@guidon/protocol';
import type { Feature } from './definitions.js';
import type { Input } from './input.js';
import { isScalarText, utf8Bytes } from './text.js';

/** What people type: keys of flags, segments, variations, experiments and layers. */
export const KEY_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
/** No dot: `salt.value` is what is hashed, so a dot in the salt would let two pairs meet. */
export const SALT_PATTERN = /^[A-Za-z0-9_-]{1,64}$/;
export const RULE_ID_PATTERN = /^[A-Za-z0-9_-]{1,64}$/;
export const FEATURE_PATTERN = /^[a-z0-9-]{1,64}$/;

export function asKey(input: Input): string | undefined {
  return input.asMatching(KEY_PATTERN, 'a key');
}

export function asSalt(input: Input): string | undefined {
  return input.asMatching(SALT_PATTERN, 'a salt');
}

export function asRequires(input: Input): Feature[] | undefined {
  return input.asList(LIMITS.requiresPerDefinition, (feature) => feature.asMatching(FEATURE_PATTERN, 'a feature'));
}

/** Any kind name is allowed; only its length is bounded. */
export function asContextKind(input: Input): string | undefined {
  return asClauseString(input);
}

/** A string that is compared with something of a context. */
export function asClauseString(input: Input): string | undefined {
  const text = input.asString();
  if (text === undefined || utf8Bytes(text) <= LIMITS.clauseStringBytes) return text;
  return input.fail('limit-exceeded', `must have at most ${LIMITS.clauseStringBytes} UTF-8 bytes`);
}

/** Targeting keys of a list. Runs over a million of them, hence no object per key. */
export function asTargetingKeys(input: Input, countMax: number): string[] | undefined {
  const elements = input.asArray(countMax);
  if (elements === undefined) return undefined;
  const keys: string[] = [];
  for (const [index, key] of elements.entries()) {
    if (typeof key === 'string' && key !== '' && isScalarText(key)) {
      if (key.length * 3 <= LIMITS.targetingKeyBytes || utf8Bytes(key) <= LIMITS.targetingKeyBytes) keys.push(key);
      else {
        const detail = `a targeting key has at most ${LIMITS.targetingKeyBytes} UTF-8 bytes`;
        input.issues.add(`${input.pointer}/${index}`, 'limit-exceeded', detail);
      }
    } else {
      const detail = 'a targeting key is a non-empty string without lone surrogates';
      input.issues.add(`${input.pointer}/${index}`, 'validation-failed', detail);
    }
  }
  return keys.length === elements.length ? keys : undefined;
}
