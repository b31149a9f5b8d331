import type { FlagDefinition } from '@guidon/engine';
import { w2Flag } from '../workloads.js';

/** As many regex clauses and patterns as one flag may have, each searched through as much of an attribute as a pattern sees. */
const CLAUSE_COUNT = 20;
const PATTERNS_PER_CLAUSE = 10;
const FLAG_COUNT = 10;
const INPUT_BYTES = 1_024;

/** Flags near the limits of the model, whose every clause is evaluated and none matches. */
export function worstFlags(): FlagDefinition[] {
  return Array.from({ length: FLAG_COUNT }, (_flag, flag) => ({
    ...w2Flag(`worst-${flag}`),
    rules: Array.from({ length: CLAUSE_COUNT }, (_clause, clause) => ({
      id: `rule-${clause}`,
      when: {
        attribute: 'text',
        op: 'matches' as const,
        values: Array.from(
          { length: PATTERNS_PER_CLAUSE },
          (_pattern, pattern) =>
            // Ambiguous at each character, so that a linear engine carries as many states as it can.
            `(a|aa|a?b?)*${'a?'.repeat(20 + pattern)}[c-e]{1,9}z${flag * 100 + clause}`,
        ),
      },
      serve: { variation: 'off' },
    })),
  }));
}

/** The context those flags cost most for. */
export const WORST_CONTEXT = { targetingKey: 'worst', text: 'a'.repeat(INPUT_BYTES) };
