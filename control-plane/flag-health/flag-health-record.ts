import type { TenantId } from '@guidon/protocol';
import { z } from 'zod';
import { timestampSchema } from '../admin-api/params.js';
import type { Versioned } from '../commit/change.js';

/** Row of what is known of a flag's health in one environment; absent while nobody ever said anything. Changes no answer to anybody. */
export interface FlagHealthRecord extends Versioned {
  readonly tenantId: TenantId;
  readonly flagKey: string;
  readonly health: 'ok' | 'unhealthy';
  /** Why, in the words of who said so. */
  readonly reason: string;
  /** Epoch milliseconds. */
  readonly since: number;
}

export const REASON_CHARS_MAX = 500;

export const flagHealthSchema = z
  .object({
    flag: z.string(),
    health: z.enum(['ok', 'unhealthy']),
    reason: z.string(),
    since: timestampSchema.nullable().describe('null: nobody ever said anything'),
  })
  .meta({ id: 'FlagHealth' });

export const flagHealthBody = z.strictObject({
  health: z.enum(['ok', 'unhealthy']),
  reason: z.string().max(REASON_CHARS_MAX).default(''),
});

export function viewFlagHealth(
  flagKey: string,
  record: FlagHealthRecord | undefined,
): z.infer<typeof flagHealthSchema> {
  const { health = 'ok', reason = '', since = null } = record ?? {};
  return { flag: flagKey, health, reason, since };
}
