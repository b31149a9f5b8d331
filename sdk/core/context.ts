import type { Json } from '@guidon/protocol';

/**
 * Whom or what a flag is evaluated for: `{targetingKey, ...attributes}` is of kind `user`; `{kind: 'organization', targetingKey, …}` of another
 * one; `{kind: 'multi', user: {targetingKey, …}, organization: {…}}` of several. `null` and `undefined` count as missing.
 */
export interface Context {
  readonly [attribute: string]: Json | undefined;
}
