import { DiagLogLevel, diag } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import type { Logger } from 'pino';

/** A collector that does not answer must not hold up the end of a process. */
const FLUSH_MS_MAX = 3_000;
/** One line says that a collector is away; it is tried every few seconds. */
const COMPLAINT_INTERVAL_MS = 60_000;
const PROTOCOL = 'http/json';

/** Endpoint, headers, sampler, limits and the name of the service are OpenTelemetry's to read from the environment. Returns what StopTracing does. */
export function startOpenTelemetry(serviceName: string, logger: Logger): () => Promise<void> {
  const { OTEL_EXPORTER_OTLP_PROTOCOL, OTEL_EXPORTER_OTLP_TRACES_PROTOCOL } = process.env;
  const protocol = (OTEL_EXPORTER_OTLP_TRACES_PROTOCOL || OTEL_EXPORTER_OTLP_PROTOCOL || PROTOCOL).trim();
  if (protocol !== PROTOCOL) logger.warn({ protocol }, `traces are sent as OTLP over ${PROTOCOL} all the same`);
  complainTo(logger);
  const provider = new NodeTracerProvider({
    resource: resourceFromAttributes({ 'service.name': serviceName }).merge(
      detectResources({ detectors: [envDetector] }),
    ),
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
  });
  provider.register();
  logger.info({ serviceName }, 'tracing');
  return async () => {
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, FLUSH_MS_MAX);
    });
    const flushed = provider.shutdown().catch((error: unknown) => logger.warn({ err: error }, 'traces were not sent'));
    await Promise.race([flushed, deadline]);
    clearTimeout(timer);
  };
}

function complainTo(logger: Logger): void {
  let silentUntilMs = 0;
  const say = (reason: string): void => {
    if (performance.now() < silentUntilMs) return;
    silentUntilMs = performance.now() + COMPLAINT_INTERVAL_MS;
    logger.warn({ reason: reason.slice(0, 500) }, 'OpenTelemetry has a problem');
  };
  const quiet = (): void => undefined;
  diag.setLogger({ error: say, warn: say, info: quiet, debug: quiet, verbose: quiet }, DiagLogLevel.WARN);
}
