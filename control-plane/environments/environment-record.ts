import type { EnvironmentRef } from '@guidon/protocol';
import type { Versioned } from '../commit/change.js';

export interface EnvironmentRecord extends Versioned, EnvironmentRef {
  readonly key: string;
  readonly name: string;
  readonly archived: boolean;
  /** Editors may not change what it serves. Absent in rows of older builds: no. */
  readonly critical?: boolean;
  /** Epoch milliseconds. */
  readonly createdAt: number;
}
