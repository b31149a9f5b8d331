import type { CompilePool, ExplainAnswer } from '@guidon/pool';
import { type Issue, type Json, PlatformError, REQUEST_LIMITS } from '@guidon/protocol';
import { Packr } from 'msgpackr';
import type { Caller } from '../auth/access-directory.js';
import { type AuthorizeParts, authorizeCaller } from '../auth/authorize-caller.js';
import type { EnvironmentSlot } from '../environment-slot.js';
import type { Reply } from '../reply.js';
import type { RequestHead } from '../request-head.js';
import type { Route, RouteRequest } from '../route.js';
import { servingOf } from './evaluation-placement.js';
import { decodeBody, withinStack } from './request-body.js';

export interface ExplainParts extends AuthorizeParts {
  readonly pool: CompilePool;
  /** The definitions in force, for a worker that does not have them; undefined when they cannot be read. */
  readonly definitionsOf: (slot: EnvironmentSlot) => Uint8Array[] | undefined;
}

interface ExplainBody {
  readonly flag: string;
  readonly context: unknown;
}

const packr = new Packr({ useRecords: false, variableMapSize: true });

/** `POST /v1/explain`: every step of one evaluation, by the reference evaluator, in a worker: it may take long, the loop may not. */
export class ExplainRoute implements Route<Caller> {
  readonly path = '/v1/explain';
  readonly bodyBytesMax = REQUEST_LIMITS.bodyBytes;
  readonly #parts: ExplainParts;

  constructor(parts: ExplainParts) {
    this.#parts = parts;
  }

  authorize(head: RequestHead, reply: Reply): Caller {
    const caller = authorizeCaller(this.#parts, head, reply);
    if (caller.entry.kind !== 'srv') {
      throw new PlatformError('wrong-key-kind', 'Explaining shows targeting rules: use a server credential.');
    }
    if (!caller.entry.permissions.includes('explain')) {
      throw new PlatformError('forbidden', 'This credential lacks the permission `explain`.');
    }
    return caller;
  }

  handle({ caller, format, body, reply }: RouteRequest<Caller>): Promise<void> {
    const { flag, context } = parseExplainBody(withinStack(() => decodeBody(body, format)));
    this.#parts.ledger.charge(caller, 1);
    return this.#explain(
      caller.slot,
      flag,
      withinStack(() => JSON.stringify(context)),
      reply,
    );
  }

  async #explain(slot: EnvironmentSlot, flag: string, context: string, reply: Reply): Promise<void> {
    const { revision, digest } = servingOf(slot);
    const request = { environment: slot.environment, base: digest, flag, context, now: this.#parts.now() };
    let answer: ExplainAnswer = await this.#parts.pool.explain(request, reply.signal);
    if (answer.status === 'needs-all') {
      const definitions = slot.serving?.digest === digest ? this.#parts.definitionsOf(slot) : undefined;
      if (definitions === undefined) throw new PlatformError('overloaded', 'The definitions are changing; try again.');
      answer = await this.#parts.pool.explain({ ...request, definitions }, reply.signal);
    }
    if (answer.status === 'digest-mismatch') {
      throw new PlatformError('overloaded', 'The definitions are changing; try again.');
    }
    if (answer.status === 'needs-all') throw new Error('a worker asked for more than everything');
    const explanation: Json = JSON.parse(answer.explanation);
    const value = { revision, explanation };
    reply.ok(slot.answerHeads[reply.format], reply.format === 'msgpack' ? packr.pack(value) : JSON.stringify(value));
  }
}

function parseExplainBody(value: unknown): ExplainBody {
  const issues: Issue[] = [];
  const add = (pointer: string, detail: string): void => {
    issues.push({ pointer, code: 'validation-failed', detail });
  };
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  const members = new Map<string, unknown>(isObject ? Object.entries(value) : []);
  if (!isObject) add('', 'must be an object');
  for (const name of members.keys()) {
    if (name !== 'flag' && name !== 'context')
      add(`/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`, 'is not known');
  }
  const flag = members.get('flag');
  if (isObject && typeof flag !== 'string') add('/flag', 'must be a string');
  if (isObject && !members.has('context')) add('/context', 'is required');
  if (issues.length > 0 || typeof flag !== 'string') {
    throw new PlatformError('validation-failed', 'The request is not {flag, context}.', { issues });
  }
  return { flag, context: members.get('context') ?? null };
}
