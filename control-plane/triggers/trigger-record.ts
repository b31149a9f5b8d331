import type { TenantId } from '@guidon/protocol';
import { z } from 'zod';
import { keySchema, nameSchema, timestampSchema } from '../admin-api/params.js';
import type { Versioned } from '../commit/change.js';

/** `turn-off`: the flag serves its off variation to everybody. `mark-unhealthy`: it is said so, nothing else. */
export const TRIGGER_EFFECTS = ['turn-off', 'mark-unhealthy'] as const;
export type TriggerEffect = (typeof TRIGGER_EFFECTS)[number];

/** Of one post. */
const ALERTS_MAX = 1_000;
/** Alerts that are remembered as done; the one that came first goes first. No fewer than a post may hold: its repeat is known as a whole. */
export const HANDLED_MAX = ALERTS_MAX;

/** Row of an address that does one thing to one flag for whoever knows it. */
export interface TriggerRecord extends Versioned {
  readonly triggerId: string;
  readonly tenantId: TenantId;
  readonly name: string;
  readonly projectKey: string;
  readonly environmentKey: string;
  readonly flagKey: string;
  readonly effect: TriggerEffect;
  /** SHA-256 of the secret in its address. */
  readonly secretHash: string;
  readonly createdAt: number;
}

/** Row under `keys.triggerState`: alerts that it has acted on, so that one that is told again changes nothing again. Absent: none yet. */
export interface TriggerState {
  /** By status, fingerprint and start; the newest HANDLED_MAX. */
  readonly handled: readonly string[];
}

export const createTriggerBody = z.strictObject({
  name: nameSchema,
  project: keySchema,
  environment: keySchema,
  flag: keySchema,
  effect: z.enum(TRIGGER_EFFECTS),
});

export const triggerSchema = z
  .object({
    id: z.string(),
    name: z.string(),
    project: z.string(),
    environment: z.string(),
    flag: z.string(),
    effect: z.enum(TRIGGER_EFFECTS),
    createdAt: timestampSchema,
    version: z.int(),
  })
  .meta({ id: 'Trigger' });

export const newTriggerSchema = triggerSchema
  .extend({
    path: z.string().describe('Shown this once; who knows it may fire the trigger. Goes behind the public URL'),
  })
  .meta({ id: 'NewTrigger' });

export function viewTrigger(trigger: TriggerRecord): z.infer<typeof triggerSchema> {
  const { triggerId, name, projectKey, environmentKey, flagKey, effect, createdAt, version } = trigger;
  return {
    id: triggerId,
    name,
    project: projectKey,
    environment: environmentKey,
    flag: flagKey,
    effect,
    createdAt,
    version,
  };
}

/**
 * What Prometheus Alertmanager posts, as far as it matters here; anything else fires the trigger once. Not strict: later versions may say more.
 */
export const firingBody = z
  .looseObject({
    alerts: z
      .array(
        z.looseObject({
          status: z.enum(['firing', 'resolved']),
          fingerprint: z.string().max(128).default(''),
          startsAt: z.string().max(64).default(''),
          labels: z.record(z.string(), z.string()).default({}),
          annotations: z.record(z.string(), z.string()).default({}),
        }),
      )
      .max(ALERTS_MAX)
      .optional(),
  })
  .nullish();
export type FiringBody = z.infer<typeof firingBody>;
