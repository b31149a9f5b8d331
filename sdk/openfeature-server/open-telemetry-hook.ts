import type { BaseHook, EvaluationDetails, FlagValue, HookContext } from '@openfeature/server-sdk';
import type { AnyValue, Logger } from '@opentelemetry/api-logs';

const EVENT_NAME = 'feature_flag.evaluation';

export interface OpenTelemetryHookOptions {
  /** Adds `feature_flag.result.value` also where there is a variant. Values may be personal, or large. Default false. */
  readonly withValues?: boolean;
}

/**
 * Emits one log event `feature_flag.evaluation` for each evaluation, with the attributes of the semantic conventions 1.44, into the trace that is active.
 * `logger`: such as `logs.getLogger('my-service')` of `@opentelemetry/api-logs`, which is the application's to install.
 */
export class OpenTelemetryHook implements BaseHook<FlagValue> {
  readonly #logger: Pick<Logger, 'emit'>;
  readonly #withValues: boolean;

  constructor(logger: Pick<Logger, 'emit'>, { withValues = false }: OpenTelemetryHookOptions = {}) {
    this.#logger = logger;
    this.#withValues = withValues;
  }

  /** After everything else, so that it sees what the caller gets, errors of other hooks included. */
  finally(hookContext: Readonly<HookContext>, details: EvaluationDetails<FlagValue>): void {
    const { variant, value, reason, errorCode, errorMessage, flagMetadata } = details;
    const { contextId, flagSetId, version } = flagMetadata;
    const attributes: Record<string, AnyValue> = {
      'feature_flag.key': hookContext.flagKey,
      'feature_flag.provider.name': hookContext.providerMetadata.name,
    };
    const set = (name: string, attribute: AnyValue | undefined): void => {
      if (attribute !== undefined) attributes[name] = attribute;
    };
    set('feature_flag.result.variant', variant);
    if (variant === undefined || this.#withValues) set('feature_flag.result.value', value as AnyValue);
    set('feature_flag.result.reason', (reason ?? 'UNKNOWN').toLowerCase());
    set('feature_flag.context.id', contextId ?? hookContext.context.targetingKey);
    set('feature_flag.set.id', flagSetId);
    set('feature_flag.version', version);
    if (reason === 'ERROR' || errorCode !== undefined) {
      set('error.type', (errorCode ?? 'GENERAL').toLowerCase());
      set('feature_flag.error.message', errorMessage);
    }
    this.#logger.emit({ eventName: EVENT_NAME, attributes });
  }
}
