import { Packr, Unpackr } from 'msgpackr';
import { assertPlainMsgpack } from '../msgpack-scan.js';
import { PlatformError } from '../platform-error.js';
import type { ConfigMessage } from '../signed-config/config-message.js';
import type { Position } from './client-message.js';
import { configFromText, configTextOf } from './config-text.js';

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

const ITEMS_MAX = 1_000_000;
const packr = new Packr({ useRecords: false, variableMapSize: true });
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' });

/** A `put` or `patch` of a `srv` stream. */
export function encodeConfigFrame(
  format: StreamFormat,
  type: 'put' | 'patch',
  { epoch, revision }: Position,
  config: ConfigMessage,
): Uint8Array {
  if (format === 'json') return Buffer.from(JSON.stringify({ type, epoch, revision, ...configTextOf(config) }));
  const { signed, previousRevision, delta } = config;
  return packr.pack({
    type,
    epoch,
    revision,
    manifest: Buffer.from(signed.document),
    signature: Buffer.from(signed.signature),
    previousRevision,
    changed: delta?.changed.map((bytes) => Buffer.from(bytes)) ?? [],
    removed: delta?.removed ?? [],
  });
}

export function encodeHeartbeat(format: StreamFormat, { epoch, revision }: Position): Uint8Array {
  return encode(format, { type: 'heartbeat', epoch, revision });
}

export function encodeBye(format: StreamFormat, reason: string, reconnectAfterMs: number): Uint8Array {
  return encode(format, { type: 'bye', reason, reconnectAfterMs });
}

function encode(format: StreamFormat, value: object): Uint8Array {
  return format === 'json' ? Buffer.from(JSON.stringify(value)) : packr.pack(value);
}

/** The client's side. Throws `malformed-body`; whether a config is to be trusted is another question (TrustedKeys). */
export function decodeServerMessage(format: StreamFormat, bytes: Uint8Array): ServerMessage {
  const value = membersOf(format, bytes);
  const { type } = value;
  if (type === 'bye') {
    if (typeof value.reason !== 'string') throw malformed('reason');
    return { type, reason: value.reason, reconnectAfterMs: counter(value, 'reconnectAfterMs') };
  }
  const position = { epoch: counter(value, 'epoch'), revision: counter(value, 'revision') };
  if (type === 'heartbeat') return { type, ...position };
  if (type !== 'put' && type !== 'patch') throw malformed('type');
  if (value.results === undefined) return { type, ...position, config: configOf(format, value) };
  const { results, removed } = value;
  if (!Array.isArray(results) || !Array.isArray(removed)) throw malformed('results');
  return { type, ...position, values: { results: results.map(recordOf), removed: removed.map(String) } };
}

function configOf(format: StreamFormat, value: Readonly<Record<string, unknown>>): ConfigMessage {
  if (format === 'json') return configFromText(value);
  const { manifest, signature, changed } = value;
  if (!(manifest instanceof Uint8Array) || !(signature instanceof Uint8Array)) throw malformed('manifest');
  if (!Array.isArray(changed)) throw malformed('changed');
  const text = configFromText({ ...value, manifest: '', signature: '', changed: [] });
  return {
    ...text,
    signed: { document: Uint8Array.from(manifest), signature: Uint8Array.from(signature) },
    delta: {
      changed: changed.map((item: unknown) => {
        if (!(item instanceof Uint8Array)) throw malformed('changed');
        return Uint8Array.from(item);
      }),
      removed: text.delta?.removed ?? [],
    },
  };
}

function membersOf(format: StreamFormat, bytes: Uint8Array): Readonly<Record<string, unknown>> {
  if (format === 'msgpack') {
    assertPlainMsgpack(bytes, { itemsMax: ITEMS_MAX });
    return recordOf(unpackr.unpack(bytes));
  }
  try {
    return recordOf(JSON.parse(Buffer.from(bytes).toString('utf8')));
  } catch (cause) {
    throw new PlatformError('malformed-body', 'stream message: it is not JSON', { cause });
  }
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
