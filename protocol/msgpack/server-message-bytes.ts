import { Packr, Unpackr } from 'msgpackr';
import type { Position } from '../live-updates/client-message.js';
import { configFromText, configTextOf } from '../live-updates/config-text.js';
import {
  decodeServerText,
  parseServerMessage,
  type ServerMessage,
  type StreamFormat,
} from '../live-updates/server-message.js';
import { assertPlainMsgpack } from '../msgpack-scan.js';
import { PlatformError } from '../platform-error.js';
import type { ConfigMessage } from '../signed-config/config-message.js';

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

/** Of either format. Throws `malformed-body`; whether a config is to be trusted is another question (TrustedKeys). */
export function decodeServerMessage(format: StreamFormat, bytes: Uint8Array): ServerMessage {
  if (format === 'json') return decodeServerText(Buffer.from(bytes).toString('utf8'));
  assertPlainMsgpack(bytes, { itemsMax: ITEMS_MAX });
  return parseServerMessage(unpackr.unpack(bytes), configFromMembers);
}

function configFromMembers(value: Readonly<Record<string, unknown>>): ConfigMessage {
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

function malformed(name: string): PlatformError {
  return new PlatformError('malformed-body', `stream message: ${name} is missing or of the wrong type`);
}
