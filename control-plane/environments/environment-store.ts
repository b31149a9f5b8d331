import type { RecordWrite } from '../commit/change.js';
import { keys } from '../store/keys.js';
import type { EnvironmentRecord } from './environment-record.js';

export function environmentWrite(read: EnvironmentRecord | undefined, value: EnvironmentRecord): RecordWrite {
  return { key: keys.environment(value.tenantId, value.projectId, value.key), read, value };
}
