import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { environmentParams, keySchema, timestampSchema } from '../admin-api/params.js';
import { registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { getEnvironment, refOf } from '../environments/environment-read-model.js';
import { getRevision } from '../revisions/revision-service.js';
import { IMPACT_FLAGS_MAX, readImpact } from './rollout-impact.js';

const SPANS_MAX = 1_440;
const SPANS_DEFAULT = 60;

const countsSchema = z.record(z.string(), z.int());
const countedSchema = z.object({
  evaluations: countsSchema.describe('By variation'),
  errors: countsSchema.describe('By error code'),
  clientReads: countsSchema,
  exposures: countsSchema,
  metrics: z
    .array(
      z.object({
        metric: z.string(),
        variation: z.string(),
        count: z.int().describe('Events of those who had been exposed to the variation'),
        sum: z.number().describe('Of their values'),
        mean: z.number().nullable().describe('Of those with a value; null: none had one'),
      }),
    )
    .describe('Custom metrics by metric and variation'),
});
const sideSchema = z.object({
  from: timestampSchema,
  to: timestampSchema,
  metricEvents: z.int().describe('Custom metric events of the environment, also of those who were exposed to nothing'),
});

const impactSchema = z
  .object({
    revision: z.int(),
    at: timestampSchema,
    action: z.string(),
    summary: z.string(),
    interval: z.enum(['minute', 'hour']),
    before: sideSchema,
    after: sideSchema,
    flagCount: z.int().describe(`How many flags the revision changed; the first ${IMPACT_FLAGS_MAX} are here`),
    flags: z.array(z.object({ flag: z.string(), before: countedSchema, after: countedSchema })),
  })
  .meta({ id: 'RolloutImpact' });

/** What a change did to who gets what. */
export function registerRolloutImpactRoutes(app: FastifyInstance, { store, now }: ControlPlaneCore): void {
  registerRoute(app, {
    method: 'GET',
    url: '/api/v1/tenants/:tenantId/projects/:projectKey/environments/:environmentKey/revisions/:revision/impact',
    operationId: 'readRolloutImpact',
    tag: 'usage',
    summary: 'What the flags of a revision were evaluated to before and after it',
    description:
      'The minute or hour in which it was made is in neither side. Minutes are kept for 48 hours, hours for 90 days. A change of a segment changes no flag: name the flag to look at.',
    action: 'flag-usage.read',
    params: environmentParams.extend({ revision: z.coerce.number().int().min(1) }),
    query: z.strictObject({
      interval: z.enum(['minute', 'hour']).default('minute'),
      spans: z.coerce.number().int().min(1).max(SPANS_MAX).default(SPANS_DEFAULT).describe('Intervals on each side'),
      flag: keySchema.optional().describe('Instead of those that the revision changed'),
    }),
    isHistory: true,
    replies: { 200: impactSchema },
    handle: ({ params, query: { interval, spans, flag } }) => {
      const row = getRevision(store, params, params.revision);
      const environment = refOf(getEnvironment(store, params).environment);
      const impact = readImpact(store, environment, row, { interval, spans, flag, now: now() });
      const { revision, at, action, summary } = row;
      return { status: 200, body: { revision, at, action, summary, ...impact } };
    },
  });
}
