import type { Explanation, Result } from '@guidon/engine/in-process';
import type { Context, FlagDetails, FlagKeyOf, FlagValueOf, JsonObject, Structure } from '@guidon/sdk-core';

/**
 * - `starting`: there is no configuration; getters return their defaults
 * - `cached`: that of the disk or the bootstrap, and no node has been reached yet; reason CACHED
 * - `live`: a node has said so lately
 * - `stale`: no node has been reached for `staleAfterSeconds`; reason STALE
 * - `local`: a file or the program says what flags are
 * - `closed`: as it was; nothing changes any more
 */
export type ClientState = 'starting' | 'cached' | 'live' | 'stale' | 'local' | 'closed';

export interface ClientStatus {
  readonly state: ClientState;
  /** Of the configuration; 0 before the first. */
  readonly epoch: number;
  readonly revision: number;
  /** Since a node was heard; undefined before. */
  readonly ageSeconds: number | undefined;
  /** Changes are pushed; otherwise they are polled for. */
  readonly isStreaming: boolean;
  /** The last node that was asked does not take the key. */
  readonly isKeyRefused: boolean;
  /** The newest revision is not on the disk. */
  readonly isDiskBehind: boolean;
  /** Events that were dropped or refused. */
  readonly lostEventCount: number;
}

/** All flags for one context. It is what `bootstrap` of the browser SDK takes. */
export interface AllFlags {
  readonly epoch: number;
  readonly revision: number;
  /** Of all flags that evaluated without an error. */
  readonly values: JsonObject;
  readonly results: readonly Result[];
}

/** What changed with a revision. */
export interface FlagsChanged {
  readonly epoch: number;
  readonly revision: number;
  /** Flags whose answers may differ for somebody: they, or what they depend on, were edited, added or removed. */
  readonly flagKeys: readonly string[];
}

export interface TrackDetails {
  readonly value?: number;
  /** At most 4 KiB of JSON. */
  readonly data?: JsonObject;
}

/** Flags, evaluated in this process. Getters never throw, never wait, and return the caller's default where there is no value of that type. */
export interface GuidonClient {
  boolean<Key extends FlagKeyOf<boolean>>(
    flagKey: Key,
    context: Context,
    defaultValue: FlagValueOf<Key, boolean>,
  ): FlagValueOf<Key, boolean>;
  string<Key extends FlagKeyOf<string>>(
    flagKey: Key,
    context: Context,
    defaultValue: FlagValueOf<Key, string>,
  ): FlagValueOf<Key, string>;
  number<Key extends FlagKeyOf<number>>(
    flagKey: Key,
    context: Context,
    defaultValue: FlagValueOf<Key, number>,
  ): FlagValueOf<Key, number>;
  /** Objects are frozen: they belong to everybody who gets the same answer. */
  json<Key extends FlagKeyOf<Structure>>(
    flagKey: Key,
    context: Context,
    defaultValue: FlagValueOf<Key, Structure>,
  ): FlagValueOf<Key, Structure>;
  booleanDetails<Key extends FlagKeyOf<boolean>>(
    flagKey: Key,
    context: Context,
    defaultValue: FlagValueOf<Key, boolean>,
  ): FlagDetails<FlagValueOf<Key, boolean>>;
  stringDetails<Key extends FlagKeyOf<string>>(
    flagKey: Key,
    context: Context,
    defaultValue: FlagValueOf<Key, string>,
  ): FlagDetails<FlagValueOf<Key, string>>;
  numberDetails<Key extends FlagKeyOf<number>>(
    flagKey: Key,
    context: Context,
    defaultValue: FlagValueOf<Key, number>,
  ): FlagDetails<FlagValueOf<Key, number>>;
  jsonDetails<Key extends FlagKeyOf<Structure>>(
    flagKey: Key,
    context: Context,
    defaultValue: FlagValueOf<Key, Structure>,
  ): FlagDetails<FlagValueOf<Key, Structure>>;
  /** Counts as use of none. `clientSideOnly`: what a page may see. Empty before the first configuration. */
  allFlags(context: Context, options?: { readonly clientSideOnly?: boolean }): AllFlags;
  /** Every step of one evaluation, by the reference evaluator: much slower. Never throws. Undefined before the first configuration. */
  explain(flagKey: string, context: Context): Explanation | undefined;
  /** `listener` hears of changes of `flagKey`, or of any flag when that is undefined. Returns what removes it. */
  onChange(flagKey: string | undefined, listener: (changed: FlagsChanged) => void): () => void;
  /** `listener` hears when `status().state` has changed. Returns what removes it. */
  onStatus(listener: (status: ClientStatus) => void): () => void;
  status(): ClientStatus;
  /**
   * Resolves when a node has been heard and there is a configuration. When that takes longer than `timeoutMs` (default 5 000): resolves all the same
   * when there is one from the disk or the bootstrap, else rejects with `timeout`. Where nodes have refused the key for a second it settles
   * then: with what there is, or rejecting with `invalid-credentials`. The client itself goes on trying.
   */
  waitForReady(options?: { readonly timeoutMs?: number }): Promise<void>;
  /** Resolves when this client evaluates that revision, or a newer one; rejects with `revision-behind` after `timeoutMs` (default 5 000). */
  waitForRevision(revision: number, options?: { readonly timeoutMs?: number }): Promise<void>;
  /** Something happened that an experiment may measure. Never throws. */
  track(name: string, context: Context, details?: TrackDetails): void;
  /** Sends the events that wait. Resolves when they are taken, or when sending failed: then they go on waiting. */
  flush(): Promise<void>;
  /** Sends what waits, 2 s at most, and ends every connection and timer. Getters go on answering as they did. */
  close(): Promise<void>;
}
