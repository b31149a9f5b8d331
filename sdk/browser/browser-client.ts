import type {
  Context,
  FlagDetails,
  FlagErrorCode,
  FlagKeyOf,
  FlagReason,
  FlagValueOf,
  Json,
  JsonObject,
  Structure,
} from '@guidon/sdk-core';

/** What a flag was evaluated to for the context, by a node. */
export interface EvaluatedFlag {
  readonly flag: string;
  /** Absent with `errorCode`. */
  readonly value?: Json;
  /** Absent or null: none was served. */
  readonly variation?: string | null;
  readonly reason: FlagReason;
  readonly ruleId?: string;
  readonly prerequisite?: string;
  readonly errorCode?: FlagErrorCode;
  readonly inExperiment?: true;
}

/** Values that a server evaluated for the page's context: the answer of `POST /v1/values`. */
export interface Bootstrap {
  readonly epoch?: number | undefined;
  readonly revision: number;
  readonly results: readonly EvaluatedFlag[];
}

/**
 * - `starting`: there are no values; getters return their defaults
 * - `cached`: values from storage, that nobody has confirmed yet; reason CACHED
 * - `live`: a node or the bootstrap has said so lately
 * - `stale`: nobody has been reached for `staleAfterSeconds`; reason STALE
 * - `closed`
 */
export type ClientState = 'starting' | 'cached' | 'live' | 'stale' | 'closed';

export interface ClientStatus {
  readonly state: ClientState;
  /** Of the values; 0 before the first. */
  readonly revision: number;
  /** Why a node was not reached, or refused, the last time; absent once it was reached: a code of a problem, or `unreachable`. */
  readonly errorCode?: string;
}

/** Getters of flags. They answer at once, never throw, and return the caller's default where there is no value of that type. */
export interface FlagReader {
  boolean<Key extends FlagKeyOf<boolean>>(
    flagKey: Key,
    defaultValue: FlagValueOf<Key, boolean>,
  ): FlagValueOf<Key, boolean>;
  string<Key extends FlagKeyOf<string>>(flagKey: Key, defaultValue: FlagValueOf<Key, string>): FlagValueOf<Key, string>;
  number<Key extends FlagKeyOf<number>>(flagKey: Key, defaultValue: FlagValueOf<Key, number>): FlagValueOf<Key, number>;
  json<Key extends FlagKeyOf<Structure>>(
    flagKey: Key,
    defaultValue: FlagValueOf<Key, Structure>,
  ): FlagValueOf<Key, Structure>;
  booleanDetails<Key extends FlagKeyOf<boolean>>(
    flagKey: Key,
    defaultValue: FlagValueOf<Key, boolean>,
  ): FlagDetails<FlagValueOf<Key, boolean>>;
  stringDetails<Key extends FlagKeyOf<string>>(
    flagKey: Key,
    defaultValue: FlagValueOf<Key, string>,
  ): FlagDetails<FlagValueOf<Key, string>>;
  numberDetails<Key extends FlagKeyOf<number>>(
    flagKey: Key,
    defaultValue: FlagValueOf<Key, number>,
  ): FlagDetails<FlagValueOf<Key, number>>;
  jsonDetails<Key extends FlagKeyOf<Structure>>(
    flagKey: Key,
    defaultValue: FlagValueOf<Key, Structure>,
  ): FlagDetails<FlagValueOf<Key, Structure>>;
}

/** Flags for one context at a time. */
export interface BrowserClient extends FlagReader {
  readonly context: Context;
  readonly status: ClientStatus;
  /** What the page was rendered with: the flags of the bootstrap, whatever has come since. Without one every getter returns its default. */
  readonly rendered: FlagReader;
  /** The values of all flags that evaluated without an error. Counts as use of none. */
  allFlags(): JsonObject;
  /**
   * Goes on with another context. Until its values are there, from storage or a node, those of the old one are served. True when they are; false
   * when they have not come in `timeoutMs`, or another `identify` came first. They are served when they come in any case. Never throws: with what is no
   * JSON (a cycle, an accessor that throws) it is false, and the old context goes on.
   */
  identify(context: Context, timeoutMs?: number): Promise<boolean>;
  /** `listener` hears which flags have another value, variation or reason: of all, or of `flagKey` alone. Returns what removes it. */
  onChange(flagKey: string | undefined, listener: (flagKeys: readonly string[]) => void): () => void;
  /** `listener` hears when `status` has changed. Returns what removes it. */
  onStatus(listener: (status: ClientStatus) => void): () => void;
  /** True when there are values, from wherever; false when there are none in `timeoutMs`. */
  ready(timeoutMs?: number): Promise<boolean>;
  /** Something happened that an experiment may measure. */
  track(name: string, details?: TrackDetails): void;
  /** Sends the events that wait. Resolves when they are taken, or when sending failed: then they go on waiting. */
  flush(): Promise<void>;
  /** Ends every connection and sends what waits, a few seconds at most. Values stay as they are. */
  close(): Promise<void>;
}

export interface TrackDetails {
  readonly value?: number;
  /** At most 4 KiB of JSON. */
  readonly data?: JsonObject;
}
