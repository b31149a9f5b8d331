import {
  type ClientState,
  type Context,
  type FlagDetails,
  type GuidonClient,
  type Json,
  type JsonObject,
  resolutionOf,
  type Structure,
  toJson,
} from '@guidon/server-sdk';
import {
  ErrorCode,
  type EvaluationContext,
  type JsonValue,
  OpenFeatureEventEmitter,
  type Provider,
  ProviderEvents,
  ProviderFatalError,
  ProviderNotReadyError,
  type ResolutionDetails,
  type TrackingEventDetails,
} from '@openfeature/server-sdk';

export interface GuidonProviderOptions {
  /** How long `setProviderAndWait` waits for a configuration: default 5. */
  readonly readySeconds?: number;
}

/** What OpenFeature was told last. It tells of the end of `initialize` itself. */
type Told = 'nothing' | 'ready' | 'stale' | 'error';

/**
 * Flags for the server API of OpenFeature, evaluated in this process by a client of the server SDK, which it owns: closing the provider closes it.
 *
 *   nothing --initialize() resolves--> ready     nothing --it rejects--> error     ready --no node for long--> stale
 *   stale, error --a node is reached, or there is a configuration after all--> ready
 */
export class GuidonProvider implements Provider {
  readonly metadata = { name: 'guidon' } as const;
  readonly runsOn = 'server';
  readonly events = new OpenFeatureEventEmitter();
  readonly #client: GuidonClient;
  readonly #readyMs: number;
  readonly #removers: readonly (() => void)[];
  #told: Told = 'nothing';

  constructor(client: GuidonClient, { readySeconds = 5 }: GuidonProviderOptions = {}) {
    this.#client = client;
    this.#readyMs = readySeconds * 1_000;
    this.#removers = [
      client.onStatus(({ state }) => this.#stateIs(state)),
      client.onChange(undefined, ({ flagKeys }) => {
        if (this.#told === 'nothing' || this.#told === 'error') return;
        this.events.emit(ProviderEvents.ConfigurationChanged, { flagsChanged: [...flagKeys] });
      }),
    ];
  }

  /** Rejects with PROVIDER_FATAL when no node takes the key; then nothing but another key will help. */
  async initialize(): Promise<void> {
    try {
      await this.#client.waitForReady({ timeoutMs: this.#readyMs });
      this.#told = 'ready';
    } catch (error) {
      this.#told = 'error';
      const isKeyRefused = error instanceof Error && 'code' in error && error.code === 'invalid-credentials';
      const message = error instanceof Error ? error.message : 'the client is not ready';
      throw isKeyRefused ? new ProviderFatalError(message) : new ProviderNotReadyError(message);
    }
  }

  async onClose(): Promise<void> {
    for (const remove of this.#removers) remove();
    await this.#client.close();
  }

  async resolveBooleanEvaluation(
    flagKey: string,
    defaultValue: boolean,
    context: EvaluationContext,
  ): Promise<ResolutionDetails<boolean>> {
    return resolve(defaultValue, context, (attributes) =>
      this.#client.booleanDetails(flagKey, attributes, defaultValue),
    );
  }

  async resolveStringEvaluation(
    flagKey: string,
    defaultValue: string,
    context: EvaluationContext,
  ): Promise<ResolutionDetails<string>> {
    return resolve(defaultValue, context, (attributes) =>
      this.#client.stringDetails(flagKey, attributes, defaultValue),
    );
  }

  async resolveNumberEvaluation(
    flagKey: string,
    defaultValue: number,
    context: EvaluationContext,
  ): Promise<ResolutionDetails<number>> {
    return resolve(defaultValue, context, (attributes) =>
      this.#client.numberDetails(flagKey, attributes, defaultValue),
    );
  }

  async resolveObjectEvaluation<Value extends JsonValue>(
    flagKey: string,
    defaultValue: Value,
    context: EvaluationContext,
  ): Promise<ResolutionDetails<Value>> {
    // The API lets a default be of any type, the client takes what such a flag can hold: null stands in for it until there is an answer.
    const isServed = ({ variation }: FlagDetails<Structure>): boolean => variation !== undefined;
    return resolve<Json>(defaultValue as Json, context, (attributes) => {
      const details = this.#client.jsonDetails(flagKey, attributes, null);
      return isServed(details) ? details : { ...details, value: defaultValue as Json };
    }) as ResolutionDetails<Value>;
  }

  track(name: string, context: EvaluationContext, { value, ...data }: TrackingEventDetails = {}): void {
    this.#client.track(name, attributesOf(context) ?? {}, {
      ...(value === undefined ? {} : { value }),
      ...(Object.keys(data).length === 0 ? {} : { data: toJson(data) as JsonObject }),
    });
  }

  #stateIs(state: ClientState): void {
    if (this.#told === 'nothing' || state === 'starting' || state === 'closed') return;
    const told = state === 'stale' ? 'stale' : 'ready';
    if (told === this.#told) return;
    this.#told = told;
    this.events.emit(told === 'stale' ? ProviderEvents.Stale : ProviderEvents.Ready);
  }
}

/** `evaluate` never throws; a context that refers to itself is one that cannot be evaluated. */
function resolve<Value extends Json>(
  defaultValue: Value,
  context: EvaluationContext,
  evaluate: (attributes: Context) => FlagDetails<Value>,
): ResolutionDetails<Value> {
  const attributes = attributesOf(context);
  const { errorCode, ...resolution } = resolutionOf(
    attributes === undefined
      ? { value: defaultValue, reason: 'ERROR', errorCode: 'INVALID_CONTEXT', revision: 0, flagMetadata: {} }
      : evaluate(attributes),
  );
  return errorCode === undefined ? resolution : { ...resolution, errorCode: ErrorCode[errorCode] };
}

function attributesOf(context: EvaluationContext): Context | undefined {
  try {
    return toJson(context) as Context;
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
