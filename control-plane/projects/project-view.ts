import { z } from 'zod';
import { timestampSchema } from '../admin-api/params.js';
import type { ProjectRecord } from './project-record.js';

export const projectSchema = z
  .object({
    id: z.string(),
    key: z.string(),
    name: z.string(),
    description: z.string(),
    archived: z.boolean(),
    createdAt: timestampSchema,
    version: z.int(),
  })
  .meta({ id: 'Project' });
export type ProjectView = z.infer<typeof projectSchema>;

export function viewProject({
  projectId,
  key,
  name,
  description,
  archived,
  createdAt,
  version,
}: ProjectRecord): ProjectView {
  return { id: projectId, key, name, description, archived, createdAt, version };
}
