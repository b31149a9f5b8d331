import type { Context, FlagDetails, Json } from '@guidon/sdk-core';
import type { GuidonClient, TrackDetails } from './client.js';
import { FlagClient } from './flag-client.js';
import { FlagOverrides } from './flag-overrides.js';
import type { Settings } from './settings.js';

/** One evaluation by a typed getter, as it was answered. */
export interface RecordedEvaluation {
  readonly flagKey: string;
  readonly context: Context;
  readonly details: FlagDetails;
}

export interface RecordedEvent extends TrackDetails {
  readonly name: string;
  readonly context: Context;
}

/** A client for tests: flags are what the test says, nothing leaves the process, and what was asked is remembered. */
export interface TestClient extends GuidonClient {
  /** From now on `flagKey` is worth `value` for everybody. Listeners hear of it at once. */
  set(flagKey: string, value: Json): void;
  /** Oldest first; the oldest of more than 10 000 are forgotten. */
  readonly evaluations: readonly RecordedEvaluation[];
  /** What was tracked, likewise. */
  readonly tracked: readonly RecordedEvent[];
}

const RECORDED_COUNT_MAX = 10_000;

/** `definitions`: flags and segments as the platform has them, for tests of targeting; they win over `values`. */
export function createTestClient(
  values: Readonly<Record<string, Json>> = {},
  { definitions = [] }: { readonly definitions?: readonly unknown[] } = {},
): TestClient {
  const evaluations: RecordedEvaluation[] = [];
  const hook = {
    after: (asked: { flagKey: string; context: Context }, details: FlagDetails): void =>
      record(evaluations, { flagKey: asked.flagKey, context: asked.context, details }),
  };
  return new RecordingClient({ ...SETTINGS, hooks: [hook] }, evaluations, values, definitions);
}

const SETTINGS: Settings = {
  urls: [],
  key: '',
  credentialId: '',
  trustRoot: undefined,
  environmentId: undefined,
  stream: 'poll',
  pollMs: 30_000,
  dataFolder: undefined,
  offlineFile: undefined,
  bootstrap: undefined,
  staleAfterMs: 120_000,
  sendsEvents: false,
  warn: (message) => process.emitWarning(message, 'GuidonWarning'),
  hooks: [],
};

class RecordingClient extends FlagClient implements TestClient {
  readonly evaluations: readonly RecordedEvaluation[];
  readonly tracked: RecordedEvent[] = [];
  readonly #definitions: readonly unknown[];
  #values: Readonly<Record<string, Json>>;

  constructor(
    settings: Settings,
    evaluations: readonly RecordedEvaluation[],
    values: Readonly<Record<string, Json>>,
    definitions: readonly unknown[],
  ) {
    super(settings, new FlagOverrides({}));
    this.evaluations = evaluations;
    this.#values = values;
    this.#definitions = definitions;
    this.serveLocal({ values, definitions });
  }

  set(flagKey: string, value: Json): void {
    this.#values = { ...this.#values, [flagKey]: value };
    this.serveLocal({ values: this.#values, definitions: this.#definitions });
  }

  override track(name: string, context: Context, details: TrackDetails = {}): void {
    record(this.tracked, { name, context, ...details });
  }
}

function record<Item>(items: Item[], item: Item): void {
  if (items.length >= RECORDED_COUNT_MAX) items.shift();
  items.push(item);
}
