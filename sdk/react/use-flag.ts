import type {
  BrowserClient,
  FlagDetails,
  FlagKey,
  FlagReader,
  FlagTypes,
  FlagValueOf,
  Structure,
} from '@guidon/browser-sdk';
import { useCallback, useMemo, useSyncExternalStore } from 'react';
import { useGuidonClient } from './guidon-provider.js';

export type FlagValue = boolean | string | number | Structure;
/** What `typegen` registered for the key; else the type of the default. */
export type FlagResult<Key, Default extends FlagValue> = Key extends keyof FlagTypes
  ? FlagTypes[Key] & FlagValue
  : Default extends boolean
    ? boolean
    : Default extends string
      ? string
      : Default extends number
        ? number
        : Default;

/** The value of a flag, or `defaultValue` where it has none of that type. Renders again when the value is another, and not for other flags. */
export function useFlag<Key extends FlagKey, Default extends FlagValueOf<Key, FlagValue>>(
  flagKey: Key,
  defaultValue: Default,
): FlagResult<Key, Default> {
  const client = useGuidonClient();
  const subscribe = useCallback((listener: () => void) => client.onChange(flagKey, listener), [client, flagKey]);
  return useSyncExternalStore(
    subscribe,
    () => read<Key, Default>(client, flagKey, defaultValue).value,
    // What the server rendered: the bootstrap, even if something newer has come meanwhile.
    () => read<Key, Default>(client.rendered, flagKey, defaultValue).value,
  );
}

/** Value, variation, reason and the rest of a flag. Renders again when one of them is another. */
export function useFlagDetails<Key extends FlagKey, Default extends FlagValueOf<Key, FlagValue>>(
  flagKey: Key,
  defaultValue: Default,
): FlagDetails<FlagResult<Key, Default>> {
  const client = useGuidonClient();
  const subscribe = useCallback(
    (listener: () => void) => {
      const removers = [client.onChange(flagKey, listener), client.onStatus(listener)];
      return () => {
        for (const remove of removers) remove();
      };
    },
    [client, flagKey],
  );
  const now = useMemo(
    () => stable(() => read<Key, Default>(client, flagKey, defaultValue)),
    [client, flagKey, defaultValue],
  );
  const rendered = useMemo(
    () => stable(() => read<Key, Default>(client.rendered, flagKey, defaultValue)),
    [client, flagKey, defaultValue],
  );
  return useSyncExternalStore(subscribe, now, rendered);
}

/** As useFlag, and suspends for as long as the client waits for its first values, ten seconds at most. */
export function useSuspenseFlag<Key extends FlagKey, Default extends FlagValueOf<Key, FlagValue>>(
  flagKey: Key,
  defaultValue: Default,
): FlagResult<Key, Default> {
  const client = useGuidonClient();
  const waiting = client.status.state === 'starting' ? waitingFor(client) : undefined;
  // React takes a promise that is thrown for the wish to suspend.
  if (waiting?.isOver === false) throw waiting.promise;
  return useFlag<Key, Default>(flagKey, defaultValue);
}

interface Waiting {
  readonly promise: Promise<unknown>;
  isOver: boolean;
}

/** Per client, since a component that suspends keeps nothing. */
const waits = new WeakMap<BrowserClient, Waiting>();

function waitingFor(client: BrowserClient): Waiting {
  let waiting = waits.get(client);
  if (waiting === undefined) {
    const made: Waiting = { promise: client.ready().finally(() => (made.isOver = true)), isOver: false };
    waits.set(client, made);
    waiting = made;
  }
  return waiting;
}

/** What the getter of the default's type says; beyond the type it is the word of whoever ran typegen. */
function read<Key, Default extends FlagValue>(reader: FlagReader, flagKey: string, defaultValue: FlagValue) {
  return detailsOf(reader, flagKey, defaultValue) as FlagDetails<FlagResult<Key, Default>>;
}

function detailsOf(reader: FlagReader, flagKey: string, defaultValue: FlagValue): FlagDetails {
  if (typeof defaultValue === 'boolean') return reader.booleanDetails(flagKey, defaultValue);
  if (typeof defaultValue === 'string') return reader.stringDetails(flagKey, defaultValue);
  if (typeof defaultValue === 'number') return reader.numberDetails(flagKey, defaultValue);
  return reader.jsonDetails(flagKey, defaultValue);
}

/** Returns the same object for as long as it says the same. */
function stable<Value>(make: () => Value): () => Value {
  let held: { readonly value: Value; readonly text: string } | undefined;
  return () => {
    const value = make();
    const text = JSON.stringify(value);
    if (held?.text !== text) held = { value, text };
    return held.value;
  };
}
