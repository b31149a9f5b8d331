import { ATTRIBUTE_TABLES } from './attributes.js';
import { CONDITION_TABLES } from './conditions.js';
import { FUEL_TABLES } from './fuel.js';
import { ORDER_TABLES } from './order-operators.js';
import { OTHER_OPERATOR_TABLES } from './other-operators.js';
import { PREREQUISITE_TABLES } from './prerequisites.js';
import { REASON_TABLES } from './reasons.js';
import { ROLLOUT_TABLES } from './rollouts.js';
import { SEGMENT_TABLES } from './segments.js';
import { TEXT_TABLES } from './text-operators.js';
import type { VectorTable } from './vector-table.js';

export const TABLES: readonly VectorTable[] = [
  ...TEXT_TABLES,
  ...ORDER_TABLES,
  ...OTHER_OPERATOR_TABLES,
  ...ATTRIBUTE_TABLES,
  ...CONDITION_TABLES,
  ...ROLLOUT_TABLES,
  ...SEGMENT_TABLES,
  ...PREREQUISITE_TABLES,
  ...REASON_TABLES,
  ...FUEL_TABLES,
];
