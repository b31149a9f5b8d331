import type { Json } from '@guidon/protocol';

/**
 * Flag keys and the types of their values, for code that wants a misspelt key or a default of another type to be a compile error. Empty, it
 * lets every key through. `guidon typegen` writes a module that adds to it:
 *
 *   declare module '@guidon/sdk-core' {
 *     interface FlagTypes { 'new-checkout': boolean; theme: 'dark' | 'light' }
 *   }
 */
// biome-ignore lint/suspicious/noEmptyInterface: it is there to be merged with
export interface FlagTypes {}

/** Every key that may be asked for. */
export type FlagKey = keyof FlagTypes extends never ? string : Extract<keyof FlagTypes, string>;

/** The keys whose values are of `Type`. */
export type FlagKeyOf<Type> = keyof FlagTypes extends never
  ? string
  : Extract<{ [Key in keyof FlagTypes]: FlagTypes[Key] extends Type ? Key : never }[keyof FlagTypes], string>;

/** What the flag may be worth, as exactly as it is known: `Type` where no key is registered. */
export type FlagValueOf<Key extends string, Type = Json> = Key extends keyof FlagTypes ? FlagTypes[Key] & Type : Type;
