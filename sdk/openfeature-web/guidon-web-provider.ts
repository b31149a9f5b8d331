import {
  type BrowserClient,
  type BrowserClientOptions,
  type ClientStatus,
  type Context,
  createBrowserClient,
  type FlagDetails,
  type Json,
  type JsonObject,
  resolutionOf,
  toJson,
} from '@guidon/browser-sdk';
import {
  ErrorCode,
  type EvaluationContext,
  GeneralError,
  type JsonValue,
  OpenFeatureEventEmitter,
  type Provider,
  ProviderEvents,
  ProviderFatalError,
  ProviderNotReadyError,
  type ResolutionDetails,
  type TrackingEventDetails,
} from '@openfeature/web-sdk';

/** Those of the browser SDK, without the context, which OpenFeature sets. */
export interface GuidonWebProviderOptions extends Omit<BrowserClientOptions, 'context'> {
  /** How long values are waited for, at the start and for another context: default 10. */
  readonly readySeconds?: number;
  /** Makes the client, in place of `createBrowserClient`: for tests. */
  readonly createClient?: (options: BrowserClientOptions) => BrowserClient;
}

/** What OpenFeature was told last. It tells of the ends of `initialize` and `onContextChange` itself. */
type Told = 'nothing' | 'ready' | 'stale' | 'error';

/** With one of these no value will ever come. */
const REFUSED: ReadonlySet<string> = new Set(['invalid-credentials', 'forbidden', 'wrong-key-kind']);

/** Flags for the web API of OpenFeature, evaluated by a node for the context and pushed. It is for one domain: it has one context. */
export class GuidonWebProvider implements Provider {
  readonly metadata = { name: 'guidon' } as const;
  readonly runsOn = 'client';
  readonly domainScoped = true;
  readonly events = new OpenFeatureEventEmitter();
  readonly #options: GuidonWebProviderOptions;
  readonly #readyMs: number;
  #client: BrowserClient | undefined;
  #told: Told = 'nothing';
  /** Rises with every context: only the newest one has anything to say. */
  #contextCount = 0;
  /** Contexts whose values are waited for. What changes meanwhile is told by the end of the waiting. */
  #waitingCount = 0;

  constructor(options: GuidonWebProviderOptions) {
    this.#options = options;
    this.#readyMs = (options.readySeconds ?? 10) * 1_000;
  }

  /** Rejects with PROVIDER_FATAL when nodes refuse the key; then nothing but another key will help. */
  async initialize(context: EvaluationContext = {}): Promise<void> {
    const { createClient = createBrowserClient, readySeconds: _, ...options } = this.#options;
    const client = createClient({ ...options, context: toJson(context) as Context });
    this.#client = client;
    client.onStatus((status) => this.#stateIs(status));
    client.onChange(undefined, (flagKeys) => {
      if (this.#waitingCount > 0 || this.#told === 'nothing') return;
      // What was not there in time has come after all.
      this.#stateIs(client.status);
      this.events.emit(ProviderEvents.ConfigurationChanged, { flagsChanged: [...flagKeys] });
    });
    const isReady = await this.#waitFor(Promise.race([client.ready(this.#readyMs), refusalOf(client)]));
    this.#told = isReady ? 'ready' : 'error';
    if (isReady) return;
    const { errorCode = 'timeout' } = client.status;
    const message = `there are no values yet: ${errorCode}`;
    throw REFUSED.has(errorCode) ? new ProviderFatalError(message) : new ProviderNotReadyError(message);
  }

  /** The values of the old context are served until those of the new one are there. Rejects when they have not come in time. */
  async onContextChange(_: EvaluationContext, context: EvaluationContext): Promise<void> {
    const client = this.#client;
    if (client === undefined) return;
    this.#contextCount += 1;
    const own = this.#contextCount;
    const isThere = await this.#waitFor(client.identify(toJson(context) as Context, this.#readyMs));
    if (own !== this.#contextCount) return;
    this.#told = isThere ? 'ready' : 'error';
    if (!isThere) throw new GeneralError('there are no values for this context yet');
  }

  async onClose(): Promise<void> {
    await this.#client?.close();
  }

  resolveBooleanEvaluation(flagKey: string, defaultValue: boolean): ResolutionDetails<boolean> {
    return resolve(defaultValue, this.#client?.booleanDetails(flagKey, defaultValue));
  }

  resolveStringEvaluation(flagKey: string, defaultValue: string): ResolutionDetails<string> {
    return resolve(defaultValue, this.#client?.stringDetails(flagKey, defaultValue));
  }

  resolveNumberEvaluation(flagKey: string, defaultValue: number): ResolutionDetails<number> {
    return resolve(defaultValue, this.#client?.numberDetails(flagKey, defaultValue));
  }

  resolveObjectEvaluation<Value extends JsonValue>(flagKey: string, defaultValue: Value): ResolutionDetails<Value> {
    // The API lets a default be of any type, the client takes what such a flag can hold: null stands in for it until there is an answer.
    const details = this.#client?.jsonDetails(flagKey, null);
    const answer = details?.variation === undefined ? details && { ...details, value: defaultValue as Json } : details;
    return resolve<Json>(defaultValue as Json, answer) as ResolutionDetails<Value>;
  }

  /** For the context of the page: this API has one. */
  track(name: string, _: EvaluationContext, { value, ...data }: TrackingEventDetails = {}): void {
    this.#client?.track(name, {
      ...(value === undefined ? {} : { value }),
      ...(Object.keys(data).length === 0 ? {} : { data: toJson(data) as JsonObject }),
    });
  }

  async #waitFor(isThere: Promise<boolean>): Promise<boolean> {
    this.#waitingCount += 1;
    try {
      return await isThere;
    } finally {
      this.#waitingCount -= 1;
    }
  }

  #stateIs({ state }: ClientStatus): void {
    if (this.#told === 'nothing' || this.#waitingCount > 0 || state === 'starting' || state === 'closed') return;
    const told = state === 'stale' ? 'stale' : 'ready';
    if (told === this.#told) return;
    this.#told = told;
    this.events.emit(told === 'stale' ? ProviderEvents.Stale : ProviderEvents.Ready);
  }
}

/** False once a node has refused the key; never settles otherwise. */
function refusalOf(client: BrowserClient): Promise<boolean> {
  return new Promise((resolve) => {
    const look = ({ errorCode = '' }: ClientStatus): void => {
      if (!REFUSED.has(errorCode)) return;
      stop();
      resolve(false);
    };
    const stop = client.onStatus(look);
  });
}

function resolve<Value extends Json>(
  defaultValue: Value,
  details: FlagDetails<Value> | undefined,
): ResolutionDetails<Value> {
  const { errorCode, ...resolution } = resolutionOf(
    details ?? { value: defaultValue, reason: 'ERROR', errorCode: 'PROVIDER_NOT_READY', revision: 0, flagMetadata: {} },
  );
  return errorCode === undefined ? resolution : { ...resolution, errorCode: ErrorCode[errorCode] };
}
