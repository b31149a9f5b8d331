import { targetingKeysOf } from '@guidon/engine';
import { LIMITS } from '@guidon/protocol';
import { z } from 'zod';
import { keySchema, timestampSchema } from '../admin-api/params.js';
import { refusal } from '../flags/flag-input.js';

/** Flags that one request explains. */
export const FLAGS_EXPLAINED_MAX = 20;

const contextSchema = z.unknown().meta({
  description: 'The context as it is sent to a node',
  examples: [{ targetingKey: 'user-1' }],
});

export const evaluateAsOfBody = z
  .strictObject({
    context: contextSchema,
    flags: z
      .array(keySchema)
      .min(1)
      .max(FLAGS_EXPLAINED_MAX)
      .optional()
      .describe('Answered with every step of the evaluation; absent: all flags, results alone'),
    revision: z.int().min(1).optional().describe('`@now` is then the time at which it was made'),
    at: timestampSchema.min(0).optional().describe('The revision in force at that time, which `@now` is as well'),
  })
  .refine(({ revision, at }) => (revision === undefined) !== (at === undefined), 'give either revision or at');

export const evaluatedAsOfSchema = z
  .object({
    revision: z.int(),
    now: timestampSchema.describe('What `@now` stood for'),
    answers: z.array(
      z.object({
        flag: z.string(),
        result: z.unknown(),
        explanation: z.unknown().optional().describe('As `POST /v1/explain` of a node answers'),
      }),
    ),
  })
  .meta({ id: 'EvaluatedAsOf' });

export const bisectBody = z.strictObject({
  context: contextSchema,
  flag: keySchema,
  from: z.int().min(1).optional().describe('Default: the oldest revision that is kept'),
  to: z.int().min(1).optional().describe('Default: the revision in force'),
  now: timestampSchema
    .min(0)
    .optional()
    .describe('What `@now` stands for at every revision, so that only definitions make a difference. Default: now'),
});

export const bisectedSchema = z
  .object({
    from: z.int(),
    to: z.int(),
    now: timestampSchema,
    first: z.unknown().describe('The result at `from`'),
    changes: z
      .array(
        z.object({
          revision: z.int(),
          at: timestampSchema,
          actorName: z.string(),
          summary: z.string(),
          auditSequence: z.int(),
          before: z.unknown(),
          after: z.unknown(),
          isValueChanged: z.boolean().describe('False: the same value for another reason'),
        }),
      )
      .describe('Every revision at which the result became another'),
    evaluatedCount: z.int().describe('Revisions at which something changed that the flag depends on'),
    nextFrom: z.int().nullable().describe('Not null: that was enough for one request; ask again with this `from`'),
  })
  .meta({ id: 'Bisected' });

export interface ReadContext {
  /** As JSON text. */
  readonly text: string;
  readonly targetingKeys: ReadonlyMap<string, string>;
}

/** 422 for a context that no node would take. */
export function readContext(context: unknown): ReadContext {
  const text = JSON.stringify(context) ?? 'null';
  if (Buffer.byteLength(text) > LIMITS.contextBytes) {
    const detail = `a context has at most ${LIMITS.contextBytes} bytes`;
    throw refusal([{ pointer: '/context', code: 'limit-exceeded', detail }]);
  }
  return { text, targetingKeys: targetingKeysOf(context) };
}
