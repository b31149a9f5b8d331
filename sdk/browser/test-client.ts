import { type Context, type FlagDetails, type Json, type JsonObject, ListenerSet } from '@guidon/sdk-core';
import type { BrowserClient, ClientStatus, EvaluatedFlag, FlagReader, TrackDetails } from './browser-client.js';
import { FlagGetters, type Found } from './flag-getters.js';

/** One call of a getter. */
export interface RecordedUse {
  readonly flagKey: string;
  readonly details: FlagDetails;
}

const RECORDED_MAX = 10_000;
const VARIATION = 'test';

/** A client for tests: serves what it is given, talks to nobody, and remembers what it was asked, the newest 10 000. */
export class TestClient extends FlagGetters implements BrowserClient {
  readonly uses: RecordedUse[] = [];
  readonly tracked: ({ readonly name: string } & TrackDetails)[] = [];
  readonly status: ClientStatus = { state: 'live', revision: 1 };
  readonly rendered: FlagReader = this;
  readonly #values = new Map<string, EvaluatedFlag>();
  readonly #listeners = new ListenerSet<[readonly string[]]>((error) => {
    throw error;
  });
  #context: Context = {};

  constructor(flags: JsonObject) {
    super();
    for (const [flag, value] of Object.entries(flags)) this.#put(flag, value);
  }

  get context(): Context {
    return this.#context;
  }

  /** Gives a flag another value, and tells whoever listens. */
  set(flagKey: string, value: Json): void {
    this.#put(flagKey, value);
    this.#listeners.tell([flagKey]);
  }

  allFlags(): JsonObject {
    return Object.fromEntries(Array.from(this.#values.values(), ({ flag, value = null }) => [flag, value]));
  }

  identify(context: Context): Promise<boolean> {
    this.#context = context;
    return Promise.resolve(true);
  }

  onChange(flagKey: string | undefined, listener: (flagKeys: readonly string[]) => void): () => void {
    return this.#listeners.add((flagKeys) => {
      if (flagKey === undefined || flagKeys.includes(flagKey)) listener(flagKeys);
    });
  }

  onStatus(): () => void {
    return () => undefined;
  }

  ready(): Promise<boolean> {
    return Promise.resolve(true);
  }

  track(name: string, details: TrackDetails = {}): void {
    remember(this.tracked, { name, ...details });
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  protected override find(flagKey: string): Found {
    return { result: this.#values.get(flagKey), isReady: true, revision: 1, flagMetadata: {} };
  }

  protected override used(flagKey: string, details: FlagDetails): void {
    remember(this.uses, { flagKey, details });
  }

  #put(flag: string, value: Json): void {
    this.#values.set(flag, { flag, value, variation: VARIATION, reason: 'STATIC' });
  }
}

/** `createTestClient({ 'new-checkout': true })`: flags that are not named are FLAG_NOT_FOUND. */
export function createTestClient(flags: JsonObject = {}): TestClient {
  return new TestClient(flags);
}

function remember<Entry>(entries: Entry[], entry: Entry): void {
  if (entries.length === RECORDED_MAX) entries.shift();
  entries.push(entry);
}
