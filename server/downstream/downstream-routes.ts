import { PlatformError } from '@guidon/protocol';
import { encodeSigned } from '@guidon/protocol/msgpack';
import type { ConfigBodies } from '../config/config-bodies.js';
import type { ConfigViews } from '../config/config-views.js';
import type { EnvironmentSlot } from '../environment-slot.js';
import type { EventSpool } from '../events/event-spool.js';
import type { GetRequest, GetRoute, GetTarget } from '../get-route.js';
import { MEDIA_TYPES } from '../media-type.js';
import { AnswerHead, type HeaderPair, type Reply } from '../reply.js';
import type { RequestHead } from '../request-head.js';
import type { Router } from '../route.js';
import type { EnvironmentSet } from '../snapshot-feed/environment-set.js';
import type { SnapshotStore } from '../snapshot-store/snapshot-store.js';
import type { DigestWaiters } from './digest-waiters.js';
import type { DownstreamCredentials } from './downstream-credentials.js';
import { DownstreamEventsRoute } from './downstream-events-route.js';

export interface DownstreamParts {
  readonly credentials: DownstreamCredentials;
  readonly waiters: DigestWaiters;
  readonly environments: EnvironmentSet;
  readonly store: SnapshotStore;
  readonly views: ConfigViews;
  readonly bodies: ConfigBodies;
  /** What this node does not know yet must not look as if it were not there (I13). */
  readonly isReady: () => boolean;
  /** Where what they tell of waits to be told on. */
  readonly spool: EventSpool;
}

const NO_STORE = 'Cache-Control: no-store';
const PRIVATE: HeaderPair = ['Cache-Control', 'no-store'];

/**
 * What a control plane answers nodes with, from what this node has itself: documents and definitions as they were received, never signed anew. So
 * nodes and edges chain, and whoever is fed believes the signatures alone (docs/adr/0034).
 */
export function addDownstreamRoutes(router: Router, parts: DownstreamParts): void {
  const { environments, store, waiters, views, bodies } = parts;
  const add = (
    path: string,
    parameters: readonly string[],
    handle: (request: GetRequest<undefined>) => Promise<void> | undefined,
  ): void => router.addGet(new DownstreamRoute(path, parameters, parts, handle));

  add('/internal/v1/key-set', [], ({ reply }) => {
    const trust = store.readTogether(() => store.findTrust());
    if (trust === undefined) throw notReady();
    return answer(reply, 'msgpack', encodeSigned(trust.keySet, { rootPublicKey: trust.rootPublicKey }));
  });

  add('/internal/v1/digests', ['buckets'], ({ reply, target }) => {
    const { digests } = environments;
    const buckets = bucketsOf(target);
    if (buckets !== undefined) {
      return answerJson(reply, { environments: buckets.flatMap((bucket) => digests.statesOf(bucket)) });
    }
    const root = digests.root();
    if (target.ifNoneMatch === `"${root}"`) {
      reply.end(304, [['ETag', `"${root}"`], PRIVATE], '');
      return undefined;
    }
    return answerJson(reply, { root, buckets: digests.bucketDigests() }, [`ETag: "${root}"`]);
  });

  add('/internal/v1/changes', ['after'], async ({ reply, target }) => {
    if (waiters.isFull) throw new PlatformError('overloaded', 'Too many wait for changes here; poll.');
    answerJson(reply, { root: await waiters.wait(target.query.get('after') ?? '', reply.signal) });
  });

  add('/internal/v1/environments/:environmentId/config', ['since'], async ({ reply, target }) => {
    const view = views.keep(slotOf(environments, target));
    const revision = revisionOf(target);
    const since = revision === undefined ? undefined : { epoch: view.position?.epoch ?? 0, revision };
    const body = await bodies.body(view, { since, format: 'msgpack', encoding: 'identity' });
    reply.extraHeaders = [PRIVATE];
    reply.ok(body.head, body.bytes);
  });

  add('/internal/v1/environments/:environmentId/access', [], ({ reply, target }) => {
    const { environment } = slotOf(environments, target);
    const signed = store.readTogether(() => store.findAccess(environment));
    if (signed === undefined) throw notFound();
    return answer(reply, 'msgpack', encodeSigned(signed));
  });

  router.add(new DownstreamEventsRoute(parts));
}

class DownstreamRoute implements GetRoute<undefined> {
  readonly path: string;
  readonly query: { readonly parameters: readonly string[] };
  readonly #parts: DownstreamParts;
  readonly handle: (request: GetRequest<undefined>) => Promise<void> | undefined;

  constructor(
    path: string,
    parameters: readonly string[],
    parts: DownstreamParts,
    handle: (request: GetRequest<undefined>) => Promise<void> | undefined,
  ) {
    this.path = path;
    this.query = { parameters };
    this.#parts = parts;
    this.handle = handle;
  }

  authorize(head: RequestHead): undefined {
    this.#parts.credentials.authenticate(head);
    if (!this.#parts.isReady()) throw notReady();
  }
}

function answer(reply: Reply, format: 'msgpack' | 'json', body: Uint8Array, lines: readonly string[] = []): undefined {
  reply.ok(new AnswerHead(MEDIA_TYPES[format], [NO_STORE, ...lines]), body);
}

function answerJson(reply: Reply, value: unknown, lines: readonly string[] = []): undefined {
  return answer(reply, 'json', Buffer.from(JSON.stringify(value)), lines);
}

function slotOf(environments: EnvironmentSet, { parameter }: GetTarget): EnvironmentSlot {
  const entry = environments.find(parameter);
  if (entry === undefined) throw notFound();
  return entry.slot;
}

function bucketsOf({ query }: GetTarget): number[] | undefined {
  const text = query.get('buckets');
  if (text === undefined) return undefined;
  if (!/^[0-9a-f]{2}(,[0-9a-f]{2}){0,255}$/.test(text))
    throw refusal('buckets', 'must be buckets in hex, such as 0a,ff');
  return [...new Set(text.split(',').map((bucket) => Number.parseInt(bucket, 16)))];
}

/** Undefined: everything is wanted. Only the change of the epoch in force can be told; a delta of another one does not fit its manifest. */
function revisionOf({ query }: GetTarget): number | undefined {
  const text = query.get('since');
  if (text === undefined || text === '0') return undefined;
  if (!/^[1-9][0-9]{0,15}$/.test(text)) throw refusal('since', 'must be a revision');
  return Number(text);
}

function refusal(parameter: string, detail: string): PlatformError {
  const issue = { pointer: `/${parameter}`, code: 'validation-failed', detail } as const;
  return new PlatformError('validation-failed', `${parameter} ${detail}`, { issues: [issue] });
}

const notFound = (): PlatformError => new PlatformError('not-found', 'There is no such environment here.');
const notReady = (): PlatformError => new PlatformError('not-ready', 'This node does not know everything yet.');
