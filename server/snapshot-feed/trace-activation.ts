import type { EnvironmentRef } from '@guidon/protocol';
import { context, propagation, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Outcome } from './reducer-parts.js';

/** Its spans go nowhere until the command has set OpenTelemetry up (cli/run). */
const tracer = trace.getTracer('@guidon/server');

/** Runs `work` as the end of the trace in which the config was written; as nothing when it came without one. */
export async function traceActivation(
  { tenantId, environmentId }: EnvironmentRef,
  traceparent: string | undefined,
  work: () => Promise<Outcome>,
): Promise<Outcome> {
  // Whatever else is under way in this process has no part in it.
  if (traceparent === undefined) return context.with(ROOT_CONTEXT, work);
  const parent = propagation.extract(ROOT_CONTEXT, { traceparent });
  const attributes = { 'guidon.tenant.id': tenantId, 'guidon.environment.id': environmentId };
  const span = tracer.startSpan('activate', { kind: SpanKind.CONSUMER, attributes }, parent);
  const outcome = await context.with(trace.setSpan(parent, span), work);
  // A span that does not end is not sent. A bus repeats itself, at each start of a node for every environment.
  if (outcome === 'ignored') return outcome;
  span.setAttribute('guidon.outcome', outcome);
  if (outcome === 'refused' || outcome === 'failed') span.setStatus({ code: SpanStatusCode.ERROR });
  span.end();
  return outcome;
}

/** Says of the activation under way which revision it is about. `verifyingSinceMs`: of performance.now(), when the check began that has just ended. */
export function traceVerified(
  revision: { readonly epoch: number; readonly revision: number },
  verifyingSinceMs: number,
) {
  const span = trace.getActiveSpan();
  if (span === undefined) return;
  span.setAttributes({ 'guidon.epoch': revision.epoch, 'guidon.revision': revision.revision });
  tracer.startSpan('verify', { startTime: verifyingSinceMs }).end();
}

/** A step of the activation under way. */
export async function traceStep<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
  if (trace.getActiveSpan() === undefined) return work();
  return tracer.startActiveSpan(name, async (span: Span) => {
    try {
      return await work();
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR });
      throw error;
    } finally {
      span.end();
    }
  });
}
