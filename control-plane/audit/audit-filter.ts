import { z } from 'zod';
import { timestampSchema } from '../admin-api/params.js';
import type { AuditEntry } from './audit-entry.js';

const epochMs = z.coerce.number().pipe(timestampSchema).optional();

/** Members of the query of every list and export of a log. All that are given must hold. */
export const auditFilterShape = {
  actor: z.string().max(128).optional().describe('Id of the credential, session or person that did it'),
  action: z
    .string()
    .regex(/^[a-z-]+\.([a-z-]+|\*)$/)
    .optional()
    .describe('`flag.update`, or `flag.*` for everything done to flags'),
  subject: z.string().max(512).optional().describe('Beginning of the subject, such as `projects/shop/flags/`'),
  from: epochMs.describe('Not before, epoch milliseconds'),
  to: epochMs.describe('Before, epoch milliseconds'),
};

export type AuditFilter = z.infer<z.ZodObject<typeof auditFilterShape>>;

export function matchesFilter(entry: AuditEntry, { actor, action, subject, from, to }: AuditFilter): boolean {
  return (
    (actor === undefined || entry.actor.credentialId === actor || entry.actor.personId === actor) &&
    (action === undefined || isAction(entry.action, action)) &&
    (subject === undefined || entry.subject.startsWith(subject)) &&
    (from === undefined || entry.at >= from) &&
    (to === undefined || entry.at < to)
  );
}

function isAction(action: string, wanted: string): boolean {
  return wanted.endsWith('*') ? action.startsWith(wanted.slice(0, -1)) : action === wanted;
}
