import { PlatformError } from '@guidon/protocol';
import { z } from 'zod';
import type { ControlStore, ListedRow } from '../store/control-store.js';
import { type KeyRange, lastPart } from '../store/keys.js';

export const LIST_LIMIT_DEFAULT = 20;
export const LIST_LIMIT_MAX = 100;

/** Rows that one page reads at most, shown or not: a filter that nothing meets must not hold the process. */
const SCAN_ROWS_MAX = 2_000;

/** Query of every list. */
export const listQuerySchema = z.strictObject({
  limit: z.coerce.number().int().min(1).max(LIST_LIMIT_MAX).default(LIST_LIMIT_DEFAULT),
  cursor: z.string().max(512).optional().describe('nextCursor of the page before'),
});
export type ListQuery = z.infer<typeof listQuerySchema>;

export interface Page<Item> {
  readonly items: readonly Item[];
  readonly nextCursor: string | null;
}

export function pageSchema<Item extends z.ZodType>(item: Item) {
  return z.object({ items: z.array(item), nextCursor: z.string().nullable() });
}

/**
 * One page of the rows below `range`, in key order (newest first when `reverse`). The cursor names the last row shown, so rows made or
 * removed meanwhile never shift a page. `keep` leaves out rows the list does not show; reading goes on until the page is full, or
 * SCAN_ROWS_MAX were read: then the page is short, and its cursor goes on behind the last row read.
 */
export function listPage<Row, Item>(
  store: ControlStore,
  range: KeyRange,
  query: ListQuery,
  toItem: (row: Row) => Item,
  options: { reverse?: boolean; keep?: (row: Row) => boolean } = {},
): Page<Item> {
  const { reverse = false, keep = () => true } = options;
  const shown: ListedRow<Row>[] = [];
  let after = query.cursor === undefined ? undefined : parseCursor(query.cursor);
  for (let readCount = 0; shown.length <= query.limit; ) {
    const limit = query.limit + 1;
    const rows = store.list<Row>(range, { after, limit, reverse });
    shown.push(...rows.filter(({ value }) => keep(value)));
    const last = rows[rows.length - 1];
    if (last === undefined || rows.length < limit) break;
    after = lastPart(last.key);
    readCount += rows.length;
    if (readCount >= SCAN_ROWS_MAX && shown.length <= query.limit) {
      return { items: shown.map(({ value }) => toItem(value)), nextCursor: encodeCursor(after) };
    }
  }
  const items = shown.slice(0, query.limit);
  const last = items[items.length - 1];
  const hasMore = shown.length > query.limit && last !== undefined;
  return {
    items: items.map(({ value }) => toItem(value)),
    nextCursor: hasMore ? encodeCursor(lastPart(last.key)) : null,
  };
}

function encodeCursor(part: string | number): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url');
}

function parseCursor(cursor: string): string | number {
  try {
    const part: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
    if (typeof part === 'string' && /^[A-Za-z0-9._-]{1,128}$/.test(part)) return part;
    if (typeof part === 'number' && Number.isSafeInteger(part)) return part;
  } catch {
    // Falls through to the one answer for every cursor that is not ours.
  }
  throw new PlatformError('validation-failed', 'the cursor is not one that this list gave');
}
