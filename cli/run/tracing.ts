import type { Logger } from 'pino';

/** Sends what is not sent yet, within a bound; call it when everything that is traced has closed. Never rejects. */
export type StopTracing = () => Promise<void>;

/**
 * Traces this process when the environment says where to: OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT. Without one,
 * or with OTEL_SDK_DISABLED=true or OTEL_TRACES_EXPORTER=none, nothing of OpenTelemetry's SDK is loaded. Never rejects: who cannot be
 * traced runs all the same.
 */
export async function startTracing(serviceName: string, logger: Logger): Promise<StopTracing> {
  if (!isTracingWanted(process.env)) return async () => undefined;
  try {
    const { startOpenTelemetry } = await import('./open-telemetry.js');
    return startOpenTelemetry(serviceName, logger);
  } catch (error) {
    logger.error({ err: error }, 'nothing is traced: OpenTelemetry does not start');
    return async () => undefined;
  }
}

/** Variables that are set to nothing count as not set, as OpenTelemetry has it. */
export function isTracingWanted(environment: NodeJS.ProcessEnv): boolean {
  const {
    OTEL_EXPORTER_OTLP_ENDPOINT: endpoint = '',
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: tracesEndpoint = '',
    OTEL_SDK_DISABLED: disabled = '',
    OTEL_TRACES_EXPORTER: exporter = '',
  } = environment;
  if (disabled.trim().toLowerCase() === 'true' || exporter.trim() === 'none') return false;
  return endpoint.trim() !== '' || tracesEndpoint.trim() !== '';
}
