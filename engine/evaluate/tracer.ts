import type { Json } from '@guidon/protocol';
import { toScalarText } from '../flag-model/text.js';

/** Nodes of one explanation: conditions, clauses, segments, steps. A flag can make far more, nobody reads them. */
export const TRACE_NODE_COUNT_MAX = 5_000;
const SEEN_UNITS_MAX = 256;
const SEEN_ELEMENTS_MAX = 20;

/**
 * Keeps the nodes of an explanation. Evaluation always makes its nodes and offers them here; without tracing none is kept, so the
 * way through the code is the same with and without.
 */
export class Tracer {
  readonly isOn: boolean;
  #nodeCount = 0;

  constructor(isOn: boolean) {
    this.isOn = isOn;
  }

  /** Some nodes were not kept. */
  get isCut(): boolean {
    return this.#nodeCount > TRACE_NODE_COUNT_MAX;
  }

  add<Node>(list: Node[], node: Node): void {
    if (!this.isOn) return;
    this.#nodeCount++;
    if (!this.isCut) list.push(node);
  }
}

/** A short JSON form of an attribute's value. Numbers that JSON lacks become their names. */
export function previewOf(value: unknown): Json {
  if (typeof value === 'string') {
    return value.length > SEEN_UNITS_MAX ? `${toScalarText(value.slice(0, SEEN_UNITS_MAX))}…` : value;
  }
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (typeof value === 'boolean' || value === null) return value;
  if (!Array.isArray(value)) return '{…}';
  const shown = value
    .slice(0, SEEN_ELEMENTS_MAX)
    .map((element) => (Array.isArray(element) ? '[…]' : previewOf(element)));
  return value.length > SEEN_ELEMENTS_MAX ? [...shown, '…'] : shown;
}
