import { setImmediate as nextTurn } from 'node:timers/promises';
import type { TenantId } from '@guidon/protocol';
import type { RequestLife } from '../admin-api/request-life.js';
import type { Feed } from './feed.js';
import { FeedViewer } from './feed-view.js';
import type { FeedWaiters } from './feed-waiters.js';
import { readFeed } from './read-feed.js';

const HEARTBEAT_MS = 15_000;
const BATCH_ITEMS = 50;
/** Who reads a stream: whether he is there, and what he may see now. */
export type FeedReader = Pick<RequestLife, 'actorNow' | 'gone' | 'cut'>;

/** A reader that takes nothing of what is there for so long is cut off: it comes back with Last-Event-ID. */
const STALL_MS = 60_000;

/**
 * The feed as server-sent events from `after` on, an event per row with its sequence as id. What is sent is read when the reader takes it, so a slow one
 * holds a place and no memory. Ends when its time is over or the process ends, when the reader is gone or may not read any more, and when the feed was trimmed under a slow
 * one: the next request says so.
 */
export async function* streamFeed(
  { feed, waiters }: { readonly feed: Feed; readonly waiters: FeedWaiters },
  tenantId: TenantId,
  reader: FeedReader,
  { after, ms, release }: { readonly after: number; readonly ms: number; readonly release: () => void },
): AsyncGenerator<string> {
  const { gone } = reader;
  const deadline = performance.now() + ms;
  let next = after;
  try {
    yield 'retry: 2000\n\n';
    while (!gone.aborted && !waiters.isClosing) {
      const page = tryRead(feed, tenantId, reader, next);
      if (page === undefined) return;
      next = page.next;
      if (page.items.length > 0) {
        const text = page.items.map((item) => `id: ${item.sequence}\ndata: ${JSON.stringify(item)}\n\n`).join('');
        yield* taken(text, reader);
      } else if (next < page.end) {
        await nextTurn();
      } else {
        const left = deadline - performance.now();
        if (left <= 0) return;
        // Nothing happens between the reading and the beginning of the wait: no row is missed.
        const isWoken = await waiters.wait(tenantId, Math.min(HEARTBEAT_MS, left), gone);
        // An event without data is none, but its id counts: rows that this reader does not see are behind him.
        if (!isWoken) yield* taken(`id: ${next}\n: heartbeat\n\n`, reader);
      }
    }
  } finally {
    release();
  }
}

/** Hands `text` over, and ends the connection when it is not taken in time. */
async function* taken(text: string, reader: FeedReader): AsyncGenerator<string> {
  const stall = setTimeout(() => reader.cut(), STALL_MS);
  try {
    yield text;
  } finally {
    clearTimeout(stall);
  }
}

/** Undefined when there is nothing for this reader any more: the answer to his next request says why. */
function tryRead(feed: Feed, tenantId: TenantId, reader: FeedReader, after: number) {
  try {
    const viewer = new FeedViewer(reader.actorNow(), tenantId);
    return readFeed(feed, tenantId, viewer, { after, limit: BATCH_ITEMS });
  } catch {
    return undefined;
  }
}
