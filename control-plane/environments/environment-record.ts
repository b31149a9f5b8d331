import type { EnvironmentRef } from '@guidon/protocol';
import type { Versioned } from '../commit/change.js';

export interface EnvironmentRecord extends Versioned, EnvironmentRef {
  readonly key: string;
  readonly name: string;
  readonly archived: boolean;
  /** Epoch milliseconds. */
  readonly createdAt: number;
}
