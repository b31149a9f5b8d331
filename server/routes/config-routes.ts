import { type EnvironmentRef, PlatformError } from '@guidon/protocol';
import { comparePositions, findPosition, type Position } from '@guidon/protocol/live-updates';
import type { Caller } from '../auth/access-directory.js';
import { type AuthorizeParts, authorizeCaller } from '../auth/authorize-caller.js';
import { type ConfigBodies, type ContentEncoding, etagOf } from '../config/config-bodies.js';
import type { ConfigViews } from '../config/config-views.js';
import type { GetRequest, GetRoute, GetTarget } from '../get-route.js';
import { isNamed } from '../if-none-match.js';
import type { HeaderPair, Reply } from '../reply.js';
import type { RequestHead } from '../request-head.js';

export interface ConfigParts extends AuthorizeParts {
  readonly views: ConfigViews;
  readonly bodies: ConfigBodies;
}

const QUERY = { parameters: ['since'] } as const;
const PRIVATE: HeaderPair = ['Cache-Control', 'private, no-store'];
const VARY: HeaderPair = ['Vary', 'Accept, Accept-Encoding'];

/**
 * `GET /v1/config`: where this environment's config lies for shared caches, 307. The path holds a secret of the environment, so this answer is for
 * the asker alone. An environment whose keys were signed before there were such paths answers here, uncached.
 */
export class ConfigRoute implements GetRoute<Caller> {
  readonly path = '/v1/config';
  readonly query = QUERY;
  readonly #parts: ConfigParts;

  constructor(parts: ConfigParts) {
    this.#parts = parts;
  }

  authorize(head: RequestHead, reply: Reply): Caller {
    return authorizeServer(this.#parts, head, reply);
  }

  handle(request: GetRequest<Caller>): Promise<void> | undefined {
    const { caller, target, reply } = request;
    const cacheToken = caller.slot.accessList?.cacheToken;
    if (cacheToken === undefined) return answerConfig(this.#parts, request, PRIVATE);
    const since = target.query.get('since');
    const query = since === undefined ? '' : `?since=${encodeURIComponent(since)}`;
    reply.end(307, [['Location', `/v1/config/${cacheToken}${query}`], PRIVATE], '');
    return undefined;
  }
}

/** `GET /v1/config/{cacheToken}`: signed manifest and definitions, the whole or from `?since=<epoch>.<revision>`. */
export class CachedConfigRoute implements GetRoute<Caller> {
  readonly path = '/v1/config/:cacheToken';
  readonly query = QUERY;
  readonly #parts: ConfigParts;

  constructor(parts: ConfigParts) {
    this.#parts = parts;
  }

  authorize(head: RequestHead, reply: Reply, { parameter }: GetTarget): Caller {
    const caller = authorizeServer(this.#parts, head, reply);
    // A path of another environment is answered as one of none (I16).
    if (caller.slot.accessList?.cacheToken !== parameter) {
      throw new PlatformError('not-found', 'There is no such endpoint.');
    }
    return caller;
  }

  handle(request: GetRequest<Caller>): Promise<void> | undefined {
    return answerConfig(this.#parts, request);
  }
}

/** `cacheControl`: who may keep the answer, where that is not everybody who knows the path. */
function answerConfig(
  { views, bodies }: ConfigParts,
  { caller, target, reply }: GetRequest<Caller>,
  cacheControl?: HeaderPair,
): Promise<void> | undefined {
  const since = sinceOf(target);
  const view = views.of(caller.slot);
  if (since !== undefined && view.position !== undefined && comparePositions(since, view.position) > 0) {
    throw new PlatformError('revision-ahead', 'This node is not at that revision; keep what you have.', {
      extensions: { currentEpoch: view.position.epoch, currentRevision: view.position.revision },
    });
  }
  const form = { since, format: reply.format, encoding: chooseEncoding(target.acceptEncoding) };
  const etag = etagOf(view, form);
  const shared = cacheControl === undefined ? sharedHeaders(view.environment) : [cacheControl];
  if (isNamed(target.ifNoneMatch, etag)) {
    reply.end(304, [['ETag', etag], VARY, ...shared], '');
    return undefined;
  }
  return bodies.body(view, form).then(({ head, bytes }) => {
    // Only now: a refusal is for nobody to keep.
    reply.extraHeaders = [...(reply.extraHeaders ?? []), ...shared];
    reply.ok(head, bytes);
  });
}

function sharedHeaders({ environmentId }: EnvironmentRef): HeaderPair[] {
  const lifetime = 'public, max-age=5, stale-while-revalidate=30, stale-if-error=86400';
  return [
    ['Cache-Control', lifetime],
    ['CDN-Cache-Control', lifetime],
    ['Surrogate-Key', `env-${environmentId}`],
  ];
}

function authorizeServer(parts: ConfigParts, head: RequestHead, reply: Reply): Caller {
  const caller = authorizeCaller(parts, head, reply);
  if (caller.entry.kind === 'srv') return caller;
  throw new PlatformError('wrong-key-kind', 'Definitions show targeting rules: use a server credential.');
}

function sinceOf({ query }: GetTarget): Position | undefined {
  const text = query.get('since');
  if (text === undefined) return undefined;
  const since = findPosition(text);
  if (since !== undefined) return since;
  const detail = 'must be <epoch>.<revision>';
  throw new PlatformError('validation-failed', `since ${detail}`, {
    issues: [{ pointer: '/since', code: 'validation-failed', detail }],
  });
}

/** RFC 9110 section 12.5.3, of the encodings that bodies are kept in; br is shorter. */
export function chooseEncoding(acceptEncoding: string): ContentEncoding {
  const refused = /;\s*q=0(\.0{0,3})?\s*$/;
  const accepted = new Set(
    acceptEncoding
      .toLowerCase()
      .split(',')
      .filter((coding) => !refused.test(coding))
      .map((coding) => coding.split(';')[0]?.trim()),
  );
  if (accepted.has('br')) return 'br';
  return accepted.has('gzip') ? 'gzip' : 'identity';
}
