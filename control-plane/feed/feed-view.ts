import type { TenantId } from '@guidon/protocol';
import { z } from 'zod';
import type { Actor } from '../admin-api/actor.js';
import { timestampSchema } from '../admin-api/params.js';
import { authorise } from '../admin-api/policy.js';
import type { FeedAudience, FeedRow } from './feed-row.js';

const thingShape = {
  type: z.string().describe('`flag.updated`, `environment.revision` and so on; unknown ones are to be passed over'),
  subject: z.string().describe('What it is about; the same thing has the same subject for ever'),
  projectId: z.string().optional(),
  environmentId: z.string().optional(),
  data: z.unknown().describe('The whole thing as it is from then on; null: it is no longer there'),
};

export const feedItemSchema = z
  .object({
    sequence: z.int(),
    ...thingShape,
    at: timestampSchema,
    auditSequence: z.int().describe('Of the entry in the audit log; rows with the same one are one change'),
    revision: z.int().optional().describe('Of the environment, once the change is made'),
    definitions: z
      .object({ count: z.int(), names: z.array(z.string()) })
      .optional()
      .describe('Of `environment.revision`: what is served anew or no longer; the first 100 names'),
    action: z.string().optional(),
    summary: z.string().optional(),
    actor: z
      .object({ kind: z.string(), credentialId: z.string(), name: z.string(), personId: z.string().optional() })
      .optional()
      .describe('With action and summary for those who may read the audit log'),
  })
  .meta({ id: 'FeedItem' });
export type FeedItem = z.infer<typeof feedItemSchema>;

export const stateItemSchema = z.object(thingShape).meta({ id: 'FeedStateItem' });
export type StateItem = z.infer<typeof stateItemSchema>;

/** What one caller sees of a tenant's feed: rows about things that he may read. Made per request: decisions are kept. */
export class FeedViewer {
  readonly #actor: Actor;
  readonly #tenantId: TenantId;
  readonly #decisions = new Map<string, boolean>();

  constructor(actor: Actor, tenantId: TenantId) {
    this.#actor = actor;
    this.#tenantId = tenantId;
  }

  sees({ action, path, tags }: FeedAudience): boolean {
    // A tag is any text.
    const name = JSON.stringify([action, path, tags]);
    const known = this.#decisions.get(name);
    if (known !== undefined) return known;
    const { verdict } = authorise(this.#actor, action, { tenantId: this.#tenantId, path, tags });
    this.#decisions.set(name, verdict === 'allow');
    return verdict === 'allow';
  }

  /** Who did it, and what else the change was, is for those who may read the audit log. */
  viewOf(row: FeedRow): FeedItem {
    const { audience: _, action, summary, actor, definitions, ...rest } = row;
    const seesLog = this.sees({ action: 'audit.list', path: '', tags: [] });
    return {
      ...rest,
      ...(definitions === undefined ? {} : { definitions: { ...definitions, names: [...definitions.names] } }),
      ...(seesLog ? { action, summary, actor: { ...actor } } : {}),
    };
  }
}
