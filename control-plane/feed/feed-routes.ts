import { setImmediate as nextTurn } from 'node:timers/promises';
import type { TenantId } from '@guidon/protocol';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { EventStream } from '../admin-api/event-stream.js';
import { tenantParams } from '../admin-api/params.js';
import { registerRoute } from '../admin-api/register-route.js';
import type { RequestLife } from '../admin-api/request-life.js';
import type { Reply } from '../commit/change.js';
import type { ControlPlaneCore } from '../core.js';
import { streamFeed } from './feed-stream.js';
import { FeedViewer, feedItemSchema, stateItemSchema } from './feed-view.js';
import type { FeedWaiters } from './feed-waiters.js';
import { type FeedPage, feedGone, readFeed } from './read-feed.js';
import { readState } from './read-state.js';

const WAIT_SECONDS_MAX = 60;
const STREAM_SECONDS_MAX = 24 * 3_600;
const PAGE_ITEMS_DEFAULT = 100;
const PAGE_ITEMS_MAX = 1_000;

const sequenceSchema = z.coerce.number().int().min(0);
const limitSchema = z.coerce.number().int().min(1).max(PAGE_ITEMS_MAX).default(PAGE_ITEMS_DEFAULT);
const TAG = 'feed';
const URL = '/api/v1/tenants/:tenantId/feed';

const SHOWN = 'Only rows about things that the caller may read are shown; the others are passed over.';

/** What changed in a tenant, in order, and what it is now. */
export function registerFeedRoutes(app: FastifyInstance, core: ControlPlaneCore, waiters: FeedWaiters): void {
  const { feed, store } = core;

  registerRoute(app, {
    method: 'GET',
    url: URL,
    operationId: 'readFeed',
    tag: TAG,
    summary: 'What changed in a tenant after a sequence, oldest first',
    description: `Each row is one thing as it is from then on. Go on after \`next\`. 410: read the state first. ${SHOWN}`,
    action: 'feed.read',
    params: tenantParams,
    query: z.strictObject({
      after: sequenceSchema.default(0).describe('`next` of the page before; 0 = from the beginning'),
      limit: limitSchema,
      wait: z.coerce
        .number()
        .int()
        .min(0)
        .max(WAIT_SECONDS_MAX)
        .default(0)
        .describe('When there is nothing, wait so many seconds for something'),
    }),
    isHistory: true,
    replies: {
      200: z.object({
        items: z.array(feedItemSchema),
        next: z.int().describe('Go on after this, also when nothing is shown'),
        end: z.int().describe('The newest sequence of the feed'),
      }),
    },
    handle: ({ params: { tenantId }, query, life }) => pollFeed(core, waiters, tenantId, life, query),
  });

  registerRoute(app, {
    method: 'GET',
    url: `${URL}/state`,
    operationId: 'readFeedState',
    tag: TAG,
    summary: 'Everything that a tenant is now, to go on from with the feed',
    description: `Read all pages, then the feed after \`sequence\`: rows of that put in the place of what has the same subject, and the copy is exact. ${SHOWN}`,
    action: 'feed.read',
    params: tenantParams,
    query: z.strictObject({
      limit: limitSchema,
      cursor: z.string().max(512).optional().describe('nextCursor of the page before'),
    }),
    isList: true,
    replies: {
      200: z.object({
        sequence: z.int().describe('The same on all pages: read the feed after it'),
        items: z.array(stateItemSchema),
        nextCursor: z.string().nullable(),
      }),
    },
    handle: ({ params: { tenantId }, query: { limit, cursor }, actor }) => {
      const { end } = feed.bounds(tenantId);
      const viewer = new FeedViewer(actor, tenantId);
      return { status: 200, body: readState(store, tenantId, viewer, { cursor, limit, end }) };
    },
  });

  registerRoute(app, {
    method: 'GET',
    url: `${URL}/events`,
    operationId: 'followFeed',
    tag: TAG,
    summary: 'What changes in a tenant, as server-sent events',
    description: `The id of an event is its sequence; send Last-Event-ID or \`after\` to go on; 410: read the state first. ${SHOWN}`,
    action: 'feed.read',
    params: tenantParams,
    query: z.strictObject({
      after: sequenceSchema.optional().describe('Default: the newest; Last-Event-ID counts before it'),
      seconds: z.coerce
        .number()
        .int()
        .min(0)
        .max(STREAM_SECONDS_MAX)
        .default(STREAM_SECONDS_MAX)
        .describe('Ends the stream after so many; 0: once it has sent what there is'),
    }),
    isHistory: true,
    fileTypes: ['text/event-stream'],
    replies: { 200: z.string().describe('Events; each has a FeedItem as its data') },
    handle: ({ params: { tenantId }, query, actor, life }) => {
      const { lastEventId } = life;
      if (lastEventId === 'foreign') throw feedGone(feed, tenantId);
      const after = lastEventId ?? query.after ?? feed.bounds(tenantId).end;
      // Says 410 while there is still somebody to say it to.
      readFeed(feed, tenantId, new FeedViewer(actor, tenantId), { after, limit: 0 });
      const open = () =>
        streamFeed({ feed, waiters }, tenantId, life, {
          after,
          ms: query.seconds * 1_000,
          release: waiters.admit(tenantId),
        });
      return { status: 200, body: new EventStream(open) };
    },
  });
}

/** Whatever wakes the wait, the answer is made for who the caller is by then. */
async function pollFeed(
  { feed }: ControlPlaneCore,
  waiters: FeedWaiters,
  tenantId: TenantId,
  life: RequestLife,
  { after, limit, wait }: { readonly after: number; readonly limit: number; readonly wait: number },
): Promise<Reply> {
  const deadline = performance.now() + wait * 1_000;
  const read = (from: number): FeedPage =>
    readFeed(feed, tenantId, new FeedViewer(life.actorNow(), tenantId), { after: from, limit });
  let page = read(after);
  const isEmpty = (): boolean => page.items.length === 0;
  if (!isEmpty() || wait === 0) return { status: 200, body: page };
  const release = waiters.admit(tenantId);
  try {
    while (isEmpty() && !waiters.isClosing && !life.gone.aborted) {
      const left = deadline - performance.now();
      if (left <= 0) break;
      // Nothing happens between the reading and the beginning of the wait: no row is missed.
      if (page.next < page.end) await nextTurn();
      else await waiters.wait(tenantId, left, life.gone);
      page = read(page.next);
    }
    return { status: 200, body: page };
  } finally {
    release();
  }
}
