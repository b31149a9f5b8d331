import type { Json } from '@guidon/protocol';
import microdiff, { type Difference } from 'microdiff';

/** One member that differs; `pointer` is RFC 6901. */
export interface DiffEntry {
  readonly op: 'add' | 'remove' | 'replace';
  readonly pointer: string;
  readonly before?: Json;
  readonly after?: Json;
}

/** Member by member difference between two JSON values, for people to read before they save. */
export function diffJson(before: Json | undefined, after: Json | undefined): DiffEntry[] {
  if (before === undefined && after === undefined) return [];
  if (before === undefined) return [{ op: 'add', pointer: '', after: after ?? null }];
  if (after === undefined) return [{ op: 'remove', pointer: '', before }];
  // Wrapped, so that scalars and arrays can be compared as well as objects.
  return microdiff({ value: before }, { value: after }, { cyclesFix: false }).map(entryOf);
}

function entryOf(difference: Difference): DiffEntry {
  const pointer = difference.path
    .slice(1)
    .map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`)
    .join('');
  if (difference.type === 'CREATE') return { op: 'add', pointer, after: difference.value as Json };
  if (difference.type === 'REMOVE') return { op: 'remove', pointer, before: difference.oldValue as Json };
  return { op: 'replace', pointer, before: difference.oldValue as Json, after: difference.value as Json };
}
