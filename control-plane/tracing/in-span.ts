import { PlatformError } from '@guidon/protocol';
import {
  type Attributes,
  type Context,
  context,
  propagation,
  ROOT_CONTEXT,
  type SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';

/** Its spans go nowhere until the command has set OpenTelemetry up (cli/run). */
export const tracer = trace.getTracer('@guidon/control-plane');

export interface SpanSettings {
  readonly kind?: SpanKind;
  readonly attributes?: Attributes;
  /** Default: what is under way. */
  readonly parent?: Context;
}

/** Runs `work` as a span. What it throws is told by its code alone: words may quote what a caller has sent. */
export async function inSpan<Result>(
  name: string,
  { parent = context.active(), ...settings }: SpanSettings,
  work: () => Promise<Result>,
): Promise<Result> {
  const span = tracer.startSpan(name, settings, parent);
  try {
    return await context.with(trace.setSpan(parent, span), work);
  } catch (error) {
    span.setStatus({ code: SpanStatusCode.ERROR });
    span.setAttribute('error.type', error instanceof PlatformError ? error.code : 'internal');
    throw error;
  } finally {
    span.end();
  }
}

/** What is under way, in the words of W3C Trace Context; undefined when nothing is traced. */
export function traceparentNow(): string | undefined {
  const carrier: { traceparent?: string } = {};
  propagation.inject(context.active(), carrier);
  return carrier.traceparent;
}

/** The other way round, for what goes on after who began it has been answered. */
export function contextOf(traceparent: string): Context {
  return propagation.extract(ROOT_CONTEXT, { traceparent });
}
