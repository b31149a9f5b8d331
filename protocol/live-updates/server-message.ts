import { PlatformError } from '../platform-error.js';
import type { ConfigMessage } from '../signed-config/config-message.js';
import type { Position } from './client-message.js';
import { configFromText } from './config-text.js';

/**
 * What a node sends. `put` is everything and replaces what the client has; `patch` is what changed since the position that the client acknowledged
 * last, and belongs to that one alone.
 *
 *   srv   put, patch  {type, epoch, revision, manifest, signature, previousRevision, changed: [definition…], removed: [[kind, key]…]}
 *   web   put         {type, epoch, revision, removed: [], results: [Result…]}
 *         patch       {type, epoch, revision, removed: [flag…], results: [Result…]}        values that changed for this context
 *   all   heartbeat   {type, epoch, revision}       where the client is by now, as the node knows it
 *         bye         {type, reason, reconnectAfterMs}
 *
 * msgpack has manifest, signature and definitions as bytes, JSON as config-text.ts says.
 */
export type ServerMessage =
  | ({ readonly type: 'put' | 'patch'; readonly config: ConfigMessage } & Position)
  | ({ readonly type: 'put' | 'patch'; readonly values: ChangedValues } & Position)
  | ({ readonly type: 'heartbeat' } & Position)
  | { readonly type: 'bye'; readonly reason: string; readonly reconnectAfterMs: number };

export interface ChangedValues {
  readonly results: readonly Readonly<Record<string, unknown>>[];
  readonly removed: readonly string[];
}

export type StreamFormat = 'msgpack' | 'json';

/** The client's side of JSON. Throws `malformed-body`; whether a config is to be trusted is another question (TrustedKeys). */
export function decodeServerText(text: string): ServerMessage {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new PlatformError('malformed-body', 'stream message: it is not JSON', { cause });
  }
  return parseServerMessage(value, configFromText);
}

/** Of what JSON or msgpack gave; `configOf` reads the members of a config. Throws `malformed-body`. */
export function parseServerMessage(
  message: unknown,
  configOf: (members: Readonly<Record<string, unknown>>) => ConfigMessage,
): ServerMessage {
  const value = recordOf(message);
  const { type } = value;
  if (type === 'bye') {
    if (typeof value.reason !== 'string') throw malformed('reason');
    return { type, reason: value.reason, reconnectAfterMs: counter(value, 'reconnectAfterMs') };
  }
  const position = { epoch: counter(value, 'epoch'), revision: counter(value, 'revision') };
  if (type === 'heartbeat') return { type, ...position };
  if (type !== 'put' && type !== 'patch') throw malformed('type');
  if (value.results === undefined) return { type, ...position, config: configOf(value) };
  const { results, removed } = value;
  if (!Array.isArray(results) || !Array.isArray(removed)) throw malformed('results');
  return { type, ...position, values: { results: results.map(recordOf), removed: removed.map(String) } };
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed('the message');
  return Object.fromEntries(Object.entries(value));
}

function counter(value: Readonly<Record<string, unknown>>, name: string): number {
  const number = value[name];
  if (typeof number === 'number' && Number.isSafeInteger(number) && number >= 0) return number;
  throw malformed(name);
}

function malformed(name: string): PlatformError {
  return new PlatformError('malformed-body', `stream message: ${name} is missing or of the wrong type`);
}
