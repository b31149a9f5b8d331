import type { RecordWrite } from '../commit/change.js';
import { keys } from '../store/keys.js';
import type { ProjectRecord } from './project-record.js';

/** The write of one project in a change. */
export function projectWrite(read: ProjectRecord | undefined, value: ProjectRecord): RecordWrite {
  return { key: keys.project(value.tenantId, value.key), read, value };
}
