import { Packr, Unpackr } from 'msgpackr';
import { assertPlainMsgpack } from '../msgpack-scan.js';
import { PlatformError } from '../platform-error.js';
import type { ConfigMessage } from '../signed-config/config-message.js';
import type { Signed } from '../signed-config/signature.js';

/** What one config message may hold at most: a flag or segment each, and the chunks of large segments. */
const ITEMS_MAX = 1_000_000;

const TRACEPARENT = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

const packr = new Packr({ useRecords: false, variableMapSize: true });
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true });

export function encodeConfigMessage(message: ConfigMessage): Uint8Array {
  const { signed, previousRevision, delta, traceparent } = message;
  return packr.pack({
    manifest: Buffer.from(signed.document),
    signature: Buffer.from(signed.signature),
    previousRevision,
    ...(delta === undefined
      ? {}
      : { changed: delta.changed.map((bytes) => Buffer.from(bytes)), removed: delta.removed }),
    ...(traceparent === undefined ? {} : { traceparent }),
  });
}

/** Throws `malformed-body` on anything else. The returned byte arrays are copies: they outlive `bytes`. */
export function decodeConfigMessage(bytes: Uint8Array): ConfigMessage {
  const value = decodeMembers(bytes);
  const { previousRevision, changed, removed } = value;
  if (typeof previousRevision !== 'number' || !Number.isSafeInteger(previousRevision) || previousRevision < 0) {
    throw malformed('previousRevision');
  }
  const head = { signed: signedFrom(value, 'manifest'), previousRevision, ...traceFrom(value) };
  if (changed === undefined) return head;
  if (!Array.isArray(changed) || !Array.isArray(removed)) throw malformed('changed');
  return {
    ...head,
    delta: {
      changed: changed.map((item) => bytesFrom(item, 'changed')),
      removed: removed.map((item): readonly [string, string] => {
        if (!Array.isArray(item) || typeof item[0] !== 'string' || typeof item[1] !== 'string')
          throw malformed('removed');
        return [item[0], item[1]];
      }),
    },
  };
}

/** What is no traceparent is as good as none: config is not lost over it. */
function traceFrom({ traceparent }: Readonly<Record<string, unknown>>): Pick<ConfigMessage, 'traceparent'> {
  return typeof traceparent === 'string' && TRACEPARENT.test(traceparent) ? { traceparent } : {};
}

/** An access list or key set on its way: msgpack `{document, signature, …extra}`. */
export function encodeSigned(signed: Signed, extra: Readonly<Record<string, string>> = {}): Uint8Array {
  return packr.pack({ document: Buffer.from(signed.document), signature: Buffer.from(signed.signature), ...extra });
}

export function decodeSigned(bytes: Uint8Array): { signed: Signed; extra: ReadonlyMap<string, unknown> } {
  const value = decodeMembers(bytes);
  return { signed: signedFrom(value, 'document'), extra: new Map(Object.entries(value)) };
}

function decodeMembers(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  assertPlainMsgpack(bytes, { itemsMax: ITEMS_MAX });
  const value: unknown = unpackr.unpack(bytes);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed('the message');
  return Object.fromEntries(Object.entries(value));
}

function signedFrom(value: Readonly<Record<string, unknown>>, documentName: string): Signed {
  return {
    document: bytesFrom(value[documentName], documentName),
    signature: bytesFrom(value.signature, 'signature'),
  };
}

function bytesFrom(value: unknown, name: string): Uint8Array {
  if (!(value instanceof Uint8Array)) throw malformed(name);
  return Uint8Array.from(value);
}

function malformed(name: string): PlatformError {
  return new PlatformError('malformed-body', `config message: ${name} is missing or of the wrong type`);
}
