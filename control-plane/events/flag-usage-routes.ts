import { PlatformError } from '@guidon/protocol';
import { UNNAMED_FLAG } from '@guidon/protocol/events';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { listPage, listQuerySchema, pageSchema } from '../admin-api/pagination.js';
import { environmentParams, timestampSchema } from '../admin-api/params.js';
import { registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { getEnvironment } from '../environments/environment-read-model.js';
import { getFlag } from '../flags/flag-store.js';
import { keys } from '../store/keys.js';
import type { UsagePeriod } from './usage-buckets.js';
import { periodOf, readUsage, sumOf } from './usage-read-model.js';
import { ALL_FLAGS, type FlagUsageRow, type SeenRow } from './usage-rows.js';

const ENVIRONMENT = '/api/v1/tenants/:tenantId/projects/:projectKey/environments/:environmentKey';
const SENDERS_SHOWN_MAX = 200;

const counted = (words: string) => z.record(z.string(), z.int()).describe(words);
const countsShape = {
  evaluations: counted('By variation: answers of nodes, and of SDKs that evaluate in their own process'),
  errors: counted('Likewise, by error code'),
  clientReads: counted('By variation: what clients used of what nodes had evaluated for them'),
  exposures: counted('By variation'),
  metricEvents: z.int().describe('0 for a single flag'),
};
const totalSchema = z.object(countsShape);
const pointSchema = z.object({ at: timestampSchema, ...countsShape });
const seriesShape = {
  interval: z.enum(['minute', 'hour']),
  from: timestampSchema,
  to: timestampSchema,
  total: totalSchema,
  points: z.array(pointSchema).describe('In the order of time; without those in which nothing happened'),
};
const flagShape = {
  lastEvaluatedAt: timestampSchema.nullable().describe('Null: never since usage is counted'),
  lastExposedAt: timestampSchema.nullable(),
  evaluations: z.int().describe('Since usage is counted'),
  errors: z.int(),
  exposures: z.int(),
};
const periodQuery = z.strictObject({
  interval: z.enum(['minute', 'hour']).optional().describe('Default hour. Minutes are kept 48 hours, hours 90 days'),
  from: z.coerce.number().int().min(0).optional().describe('Epoch milliseconds; default an hour or a day before `to`'),
  to: z.coerce.number().int().min(0).optional().describe('Default now'),
});
const seenSchema = {
  firstSeenAt: timestampSchema,
  lastSeenAt: timestampSchema,
  count: z.int(),
};
const environmentUsageSchema = z.object(seriesShape).meta({ id: 'EnvironmentUsage' });
const flagUsageSchema = z.object({ flag: z.string(), ...flagShape, ...seriesShape }).meta({ id: 'FlagUsage' });
const listedUsageSchema = z.object({ flag: z.string(), ...flagShape }).meta({ id: 'FlagUsageSummary' });
const unknownFlagSchema = z.object({ flag: z.string(), ...seenSchema }).meta({ id: 'UnknownFlag' });
const unknownFlagsSchema = z.object({
  items: z.array(unknownFlagSchema).describe('Last seen first; the 500 last seen are kept'),
  unnamedCount: z.int().describe('Asked of nodes, which count them without their names'),
});
const sdkSchema = z
  .object({ name: z.string(), version: z.string(), key: z.enum(['srv', 'web']), ...seenSchema })
  .meta({ id: 'SeenSdk' });

/** How often flags are evaluated, as nodes and SDKs tell. Read only: what they tell comes in by `event-routes.ts` and the bus. */
export function registerFlagUsageRoutes(app: FastifyInstance, { store, now }: ControlPlaneCore): void {
  const common = { method: 'GET', tag: 'usage', action: 'flag-usage.read' } as const;

  registerRoute(app, {
    ...common,
    url: `${ENVIRONMENT}/usage`,
    operationId: 'readEnvironmentUsage',
    summary: 'How often the flags of an environment were evaluated, all together, over time',
    description: 'By variation there is one entry with an empty name: variations mean something only within a flag.',
    params: environmentParams,
    query: periodQuery,
    replies: { 200: environmentUsageSchema },
    handle: ({ params, query }) => {
      const { environment } = getEnvironment(store, params);
      const period = checkedPeriod(query, now());
      const points = readUsage(store, environment, ALL_FLAGS, period);
      return { status: 200, body: { ...period, total: sumOf(points), points } };
    },
  });

  registerRoute(app, {
    ...common,
    url: `${ENVIRONMENT}/flag-usage`,
    operationId: 'listFlagUsage',
    summary: 'List the flags of an environment that were evaluated, with when they last were',
    params: environmentParams,
    query: listQuerySchema,
    isList: true,
    replies: { 200: pageSchema(listedUsageSchema) },
    handle: ({ params, query }) => {
      const { environment } = getEnvironment(store, params);
      const view = (row: FlagUsageRow): FlagUsageRow => row;
      const page = listPage<FlagUsageRow, FlagUsageRow>(store, keys.flagUsages(environment), query, view);
      return { status: 200, body: page };
    },
  });

  registerRoute(app, {
    ...common,
    url: `${ENVIRONMENT}/flags/:flagKey/usage`,
    operationId: 'readFlagUsage',
    summary: 'How often a flag was evaluated in an environment, by variation, over time',
    params: environmentParams.extend({ flagKey: z.string() }),
    query: periodQuery,
    replies: { 200: flagUsageSchema },
    handle: ({ params, query }) => {
      const { environment, project } = getEnvironment(store, params);
      const { key } = getFlag(store, project.tenantId, project.projectId, params.flagKey);
      const period = checkedPeriod(query, now());
      const row = store.find<FlagUsageRow>(keys.flagUsage(environment, key)) ?? NEVER_USED;
      const points = readUsage(store, environment, key, period);
      return { status: 200, body: { flag: key, ...row, ...period, total: sumOf(points), points } };
    },
  });

  registerSeenRoutes(app, { store });
}

function registerSeenRoutes(app: FastifyInstance, { store }: Pick<ControlPlaneCore, 'store'>): void {
  const common = { method: 'GET', tag: 'usage', action: 'flag-usage.read', params: environmentParams } as const;

  registerRoute(app, {
    ...common,
    url: `${ENVIRONMENT}/unknown-flags`,
    operationId: 'listUnknownFlags',
    summary: 'List flags that were asked for and are not there',
    replies: { 200: unknownFlagsSchema },
    handle: ({ params }) => {
      const { environment } = getEnvironment(store, params);
      const seen = lastSeenFirst(store.find<SeenRow>(keys.unknownFlags(environment)) ?? []);
      const named = seen.filter(([flag]) => flag !== UNNAMED_FLAG);
      const unnamedCount = new Map(seen).get(UNNAMED_FLAG)?.count ?? 0;
      return { status: 200, body: { items: named.map(([flag, entry]) => ({ flag, ...entry })), unnamedCount } };
    },
  });

  registerRoute(app, {
    ...common,
    url: `${ENVIRONMENT}/sdks`,
    operationId: 'listSdks',
    summary: 'List the SDKs that have sent events, by version',
    replies: { 200: z.object({ items: z.array(sdkSchema).describe('Last seen first; the 200 last seen are kept') }) },
    handle: ({ params }) => {
      const { environment } = getEnvironment(store, params);
      const seen = lastSeenFirst(store.find<SeenRow>(keys.eventSenders(environment)) ?? []);
      const items = seen.slice(0, SENDERS_SHOWN_MAX).map(([sender, entry]) => {
        const [name, version, key] = JSON.parse(sender) as [string, string, 'srv' | 'web'];
        return { name, version, key, ...entry };
      });
      return { status: 200, body: { items } };
    },
  });
}

const NEVER_USED = { lastEvaluatedAt: null, lastExposedAt: null, evaluations: 0, errors: 0, exposures: 0 };

function lastSeenFirst(row: SeenRow): SeenRow {
  return [...row].sort(([, a], [, b]) => b.lastSeenAt - a.lastSeenAt);
}

function checkedPeriod(query: z.infer<typeof periodQuery>, now: number): UsagePeriod {
  const { interval, from, to } = query;
  if (from !== undefined && to !== undefined && from > to) {
    const issue = { pointer: '/from', code: 'validation-failed', detail: 'must not be after to' } as const;
    throw new PlatformError('validation-failed', 'the period ends before it begins', { issues: [issue] });
  }
  const asked = { ...(interval && { interval }), ...(from !== undefined && { from }), ...(to !== undefined && { to }) };
  return periodOf(asked, now);
}
