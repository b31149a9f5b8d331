import type { ProjectId, TenantId } from '@guidon/protocol';
import type { Versioned } from '../commit/change.js';

export interface ProjectRecord extends Versioned {
  readonly tenantId: TenantId;
  readonly projectId: ProjectId;
  readonly key: string;
  readonly name: string;
  readonly description: string;
  readonly archived: boolean;
  /** Epoch milliseconds. */
  readonly createdAt: number;
}
