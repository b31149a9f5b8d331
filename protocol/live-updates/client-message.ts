import { PlatformError } from '../platform-error.js';

/** A place in the order of one environment's config: (epoch, revision). */
export interface Position {
  readonly epoch: number;
  readonly revision: number;
}

/** What a client sends: `hello` first and once, then an `ack` for each `put` and `patch` it has applied. */
export type ClientMessage =
  | {
      readonly type: 'hello';
      /** What the client has; absent: nothing. */
      readonly since?: Position;
      /** Of a `web` stream; absent: an empty one. */
      readonly context?: unknown;
    }
  | ({ readonly type: 'ack' } & Position);

const HELLO_MEMBERS: ReadonlySet<string> = new Set(['type', 'epoch', 'revision', 'context']);
const ACK_MEMBERS: ReadonlySet<string> = new Set(['type', 'epoch', 'revision']);

/**
 * Reads `{type: "hello", epoch?, revision?, context?}` or `{type: "ack", epoch, revision}` from what JSON or msgpack gave. Throws
 * `malformed-body` for everything else, unknown members too.
 */
export function parseClientMessage(value: unknown): ClientMessage {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed('an object is expected');
  const members = new Map<string, unknown>(Object.entries(value));
  const type = members.get('type');
  if (type === 'hello') {
    refuseOthers(members, HELLO_MEMBERS);
    const hasSince = members.has('epoch') || members.has('revision');
    return {
      type,
      ...(hasSince ? { since: positionOf(members) } : {}),
      ...(members.has('context') ? { context: members.get('context') } : {}),
    };
  }
  if (type !== 'ack') throw malformed('type must be hello or ack');
  refuseOthers(members, ACK_MEMBERS);
  return { type, ...positionOf(members) };
}

/** `<epoch>.<revision>`: `since=` of a config request and the `id:` of an SSE event. Undefined when it is not of that form. */
export function findPosition(text: string): Position | undefined {
  const [, epoch, revision] = /^(0|[1-9]\d{0,14})\.(0|[1-9]\d{0,14})$/.exec(text) ?? [];
  return epoch === undefined ? undefined : { epoch: Number(epoch), revision: Number(revision) };
}

export const positionText = ({ epoch, revision }: Position): string => `${epoch}.${revision}`;

/** Negative: `a` is before `b`. */
export function comparePositions(a: Position, b: Position): number {
  return a.epoch - b.epoch || a.revision - b.revision;
}

function positionOf(members: ReadonlyMap<string, unknown>): Position {
  const counter = (name: string): number => {
    const value = members.get(name);
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
    throw malformed(`${name} must be a whole number`);
  };
  return { epoch: counter('epoch'), revision: counter('revision') };
}

function refuseOthers(members: ReadonlyMap<string, unknown>, known: ReadonlySet<string>): void {
  for (const name of members.keys()) if (!known.has(name)) throw malformed('it has an unknown member');
}

function malformed(detail: string): PlatformError {
  return new PlatformError('malformed-body', `stream message: ${detail}`);
}
