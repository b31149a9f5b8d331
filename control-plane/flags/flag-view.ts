import { z } from 'zod';
import { timestampSchema } from '../admin-api/params.js';
import type { ChangeOutcome, Reply } from '../commit/change.js';
import type { EnvironmentRecord } from '../environments/environment-record.js';
import { FLAG_TYPES } from './flag-input.js';
import type { FlagRecord } from './flag-record.js';

export const flagSchema = z
  .object({
    id: z.string().describe('New for each flag, also when a key is used again'),
    key: z.string(),
    type: z.enum(FLAG_TYPES),
    name: z.string(),
    description: z.string(),
    tags: z.array(z.string()),
    lifetime: z.enum(['temporary', 'permanent']),
    clientSide: z.boolean(),
    variations: z.array(z.object({ key: z.string(), name: z.string().optional(), value: z.unknown() })),
    valueSchema: z.looseObject({}).optional(),
    archived: z.boolean(),
    archivedAt: timestampSchema.nullable(),
    createdAt: timestampSchema,
    updatedAt: timestampSchema,
    version: z.int(),
  })
  .meta({ id: 'Flag' });
export type FlagView = z.infer<typeof flagSchema>;

/** The answer to a write: the flag, and where each environment of the project stands. */
export const flagWriteSchema = flagSchema
  .extend({
    revisions: z
      .record(z.string(), z.int())
      .describe('Revision by environment key; raised where what is served changed'),
  })
  .meta({ id: 'WrittenFlag' });

export function viewFlag(flag: FlagRecord): FlagView {
  const { valueSchema, variations, tags, ...rest } = flag;
  return {
    ...rest,
    tags: [...tags],
    variations: variations.map((variation) => ({ ...variation })),
    ...(valueSchema === null ? {} : { valueSchema: { ...valueSchema } }),
    archived: flag.archivedAt !== null,
  };
}

export function flagReply(flag: FlagRecord): Reply {
  return { status: 200, body: viewFlag(flag), etag: flag.version };
}

export function revisionsOf(
  environments: readonly EnvironmentRecord[],
  outcome: ChangeOutcome,
): Record<string, number> {
  const revisions = new Map(outcome.environments.map((one) => [one.environment.environmentId, one.revision]));
  return Object.fromEntries(
    environments.flatMap(({ key, environmentId }) => {
      const revision = revisions.get(environmentId);
      return revision === undefined ? [] : [[key, revision] as const];
    }),
  );
}
