import { EVENT_LIMITS } from '@guidon/protocol';
import type { EventContext } from '@guidon/protocol/events';
import type { Context } from './context.js';

/** Kinds and targeting keys alone: no attribute leaves with an event. Undefined: it is nobody who could be told from others. */
export function findEventContext(context: Context): EventContext | undefined {
  const { kind, targetingKey } = context;
  if (kind !== 'multi') {
    if (!isTellable(targetingKey)) return undefined;
    return typeof kind === 'string' ? { kind, targetingKey } : { targetingKey };
  }
  const kinds = Object.entries(context).flatMap(([name, member]) => {
    const key = typeof member === 'object' && member !== null && 'targetingKey' in member && member.targetingKey;
    return name !== 'kind' && isTellable(key) ? [[name, { targetingKey: key }] as const] : [];
  });
  return kinds.length === 0 ? undefined : { ...Object.fromEntries(kinds), kind: 'multi' };
}

/** A longer one no node takes: it would be told in vain, and be remembered meanwhile. */
function isTellable(key: unknown): key is string {
  return typeof key === 'string' && key !== '' && key.length <= EVENT_LIMITS.targetingKeyBytes;
}
