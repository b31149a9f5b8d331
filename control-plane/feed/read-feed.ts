import { PlatformError, type TenantId } from '@guidon/protocol';
import type { Feed } from './feed.js';
import type { FeedItem, FeedViewer } from './feed-view.js';

/** Rows that one page looks at, shown or not, and rows read at a time: a row is as large as the thing that it is about. */
const SCAN_ROWS_MAX = 2_000;
const BATCH_ROWS = 20;
/** A page that has so much is not filled up. */
const PAGE_BYTES_MAX = 2 * 1024 * 1024;

export interface FeedPage {
  readonly items: readonly FeedItem[];
  /** The sequence to go on after: of the last row looked at. */
  readonly next: number;
  /** The last row of the feed, whoever sees it. */
  readonly end: number;
}

/** For whoever names a place that the feed does not have, or no longer: it says where to begin. */
export function feedGone(feed: Feed, tenantId: TenantId): PlatformError {
  const { start, end } = feed.bounds(tenantId);
  return new PlatformError('feed-gone', `the feed has what came after ${start}, up to ${end}`, {
    extensions: { start, end, state: `/api/v1/tenants/${tenantId}/feed/state` },
  });
}

/** What comes after `after`. Throws `feed-gone` when the feed does not reach back to there, or never came to it. */
export function readFeed(
  feed: Feed,
  tenantId: TenantId,
  viewer: FeedViewer,
  { after, limit }: { readonly after: number; readonly limit: number },
): FeedPage {
  const { start, end } = feed.bounds(tenantId);
  if (after < start || after > end) throw feedGone(feed, tenantId);
  const items: FeedItem[] = [];
  let next = after;
  let bytes = 0;
  for (let scanned = 0; scanned < SCAN_ROWS_MAX && next < end; scanned += BATCH_ROWS) {
    for (const row of feed.after(tenantId, next, BATCH_ROWS)) {
      if (items.length >= limit || bytes >= PAGE_BYTES_MAX) return { items, next, end };
      next = row.sequence;
      if (!viewer.sees(row.audience)) continue;
      const item = viewer.viewOf(row);
      bytes += JSON.stringify(item).length;
      items.push(item);
    }
  }
  return { items, next, end };
}
