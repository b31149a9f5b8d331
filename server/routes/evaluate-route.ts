import assert from 'node:assert';
import { type BodyFormat, encodeJsonRequest } from '@guidon/engine';
import { isSameEnvironment, PlatformError, REQUEST_LIMITS } from '@guidon/protocol';
import { Packr } from 'msgpackr';
import type { AccessDirectory, Caller } from '../auth/access-directory.js';
import { allowProblemToBeRead, answerPreflight, assertOrigin } from '../cors.js';
import type { ActiveSnapshot, EnvironmentSlot, ServedRevision } from '../environment-slot.js';
import { admit } from '../quota/admit.js';
import type { QuotaLedger } from '../quota/quota-ledger.js';
import type { Reply } from '../reply.js';
import type { RequestHead } from '../request-head.js';
import type { Route, RouteRequest } from '../route.js';
import type { SnapshotKernel } from '../snapshot-kernel.js';
import type { SnapshotResidency } from '../snapshot-residency.js';
import { parseJsonBody, withinStack } from './request-body.js';
import { trappedAnswer } from './trapped-answer.js';

export interface EvaluateParts {
  readonly directory: AccessDirectory;
  readonly kernel: SnapshotKernel;
  readonly residency: SnapshotResidency;
  readonly ledger: QuotaLedger;
  /** Wall clock, milliseconds: `@now` and the expiry of credentials. */
  readonly now: () => number;
}

/** A number of three JSON characters has nine bytes in msgpack. Bodies were held to their limit as they came. */
const MSGPACK_GROWTH = 4;

type Evaluated = ReturnType<SnapshotKernel['evaluate']>;

const packr = new Packr({ useRecords: false, variableMapSize: true });

/** `POST /v1/evaluate` and `POST /v1/evaluate/batch`: msgpack goes into the kernel as it came, JSON through an adapter. */
export class EvaluateRoute implements Route<Caller> {
  readonly path: string;
  readonly bodyBytesMax: number;
  readonly #route: 'evaluate' | 'batch';
  readonly #parts: EvaluateParts;

  constructor(route: 'evaluate' | 'batch', parts: EvaluateParts) {
    this.#route = route;
    this.#parts = parts;
    this.path = route === 'batch' ? '/v1/evaluate/batch' : '/v1/evaluate';
    this.bodyBytesMax = route === 'batch' ? REQUEST_LIMITS.batchBodyBytes : REQUEST_LIMITS.bodyBytes;
  }

  authorize(head: RequestHead, reply: Reply): Caller {
    return authorizeCaller(this.#parts, head, reply);
  }

  preflight(_head: RequestHead, reply: Reply): void {
    answerPreflight(reply);
  }

  handle({ caller, format, body, reply }: RouteRequest<Caller>): Promise<void> | undefined {
    const request = format === 'msgpack' ? body : withinStack(() => encodeJsonRequest(parseJsonBody(body)));
    // The body is gone when this returns; a wait needs its own.
    if (isCold(caller.slot)) return this.#evaluateLater(caller, Uint8Array.from(request), reply);
    const minRevision = this.#answerOrWait(caller, request, reply);
    if (minRevision === undefined) return undefined;
    return this.#waitForRevision(caller, Uint8Array.from(request), minRevision, reply);
  }

  async #evaluateLater(caller: Caller, request: Uint8Array, reply: Reply): Promise<void> {
    const minRevision = await this.#whenResident(caller, request, reply);
    if (minRevision !== undefined) await this.#waitForRevision(caller, request, minRevision, reply);
  }

  async #waitForRevision(caller: Caller, request: Uint8Array, minRevision: number, reply: Reply): Promise<void> {
    await caller.slot.waitForRevision(minRevision);
    const isBehind = (await this.#whenResident(caller, request, reply)) !== undefined;
    if (isBehind) {
      throw new PlatformError('revision-behind', `This node is not at revision ${minRevision} yet.`, {
        extensions: { currentRevision: caller.slot.serving?.revision ?? 0 },
      });
    }
  }

  #whenResident(caller: Caller, request: Uint8Array, reply: Reply): Promise<number | undefined> {
    return this.#parts.residency.whenResident(caller.slot, request.length, () =>
      reply.isOpen ? this.#answerOrWait(caller, request, reply) : undefined,
    );
  }

  /** The revision to wait for, when the request asks for one that is not here yet. */
  #answerOrWait(caller: Caller, request: Uint8Array, reply: Reply): number | undefined {
    const answer = this.#evaluate(caller, request, reply.format);
    if (answer.status === 'revision-behind') return answer.minRevision;
    this.#answer(caller, answer, request, reply);
    return undefined;
  }

  #evaluate(caller: Caller, request: Uint8Array, answerFormat: BodyFormat): Evaluated {
    const active = activeOf(caller.slot);
    caller.slot.touch();
    return this.#parts.kernel.evaluate(caller.slot, active, request, {
      route: this.#route,
      answerFormat,
      now: this.#parts.now(),
      clientSideOnly: caller.entry.kind === 'web',
      contentBytesMax: this.bodyBytesMax * MSGPACK_GROWTH,
    });
  }

  #answer(
    caller: Caller,
    answer: Exclude<Evaluated, { status: 'revision-behind' }>,
    request: Uint8Array,
    reply: Reply,
  ): void {
    const { slot } = caller;
    if (answer.status === 'ok') {
      this.#parts.ledger.charge(caller, answer.evaluations);
      slot.evaluationCount += answer.evaluations;
      reply.ok(slot.answerHeads[reply.format], answer.bytes);
      return;
    }
    if (answer.status === 'trapped') {
      const value = trappedAnswer(request, this.#route, slot.serving?.revision ?? 0);
      if (value === undefined) throw new PlatformError('internal', 'The evaluation failed.');
      const head = slot.answerHeads[reply.format];
      reply.ok(head, reply.format === 'msgpack' ? packr.pack(value) : JSON.stringify(value));
      return;
    }
    const { status, detail, pointer } = answer;
    throw new PlatformError(
      status,
      detail,
      pointer === undefined ? {} : { issues: [{ pointer, code: status, detail }] },
    );
  }
}

/** The one way from a request to its environment (I16), with the origin rules of its kind of credential, and its quotas (I17). */
export function authorizeCaller(
  parts: Pick<EvaluateParts, 'directory' | 'ledger' | 'now'>,
  head: RequestHead,
  reply: Reply,
): Caller {
  allowProblemToBeRead(head, reply);
  const caller = parts.directory.authenticate(head, parts.now);
  if (head.origin !== '') assertOrigin(caller.entry, head.origin, reply);
  admit(parts.ledger, caller, reply);
  return caller;
}

/** The revision that serves. Throws `not-ready` before the first one: absence is never "no flags" (I13). */
export function servingOf({ serving }: EnvironmentSlot): ServedRevision {
  if (serving === undefined)
    throw new PlatformError('not-ready', 'This node has no configuration of this environment yet.');
  return serving;
}

const isCold = ({ serving, active }: EnvironmentSlot): boolean => active === undefined && serving !== undefined;

/** What serves, where it is resident. */
function activeOf(slot: EnvironmentSlot): ActiveSnapshot {
  servingOf(slot);
  const { active } = slot;
  assert(active !== undefined, 'a cold environment is loaded before it is evaluated');
  assert(isSameEnvironment(active.environment, slot.environment), 'the snapshot belongs to the credential (I16)');
  return active;
}
