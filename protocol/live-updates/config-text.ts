import { PlatformError } from '../platform-error.js';
import type { ConfigMessage } from '../signed-config/config-message.js';

/**
 * A config message as JSON: manifest and definitions, which are JSON texts, as strings of exactly their bytes; the signature in base64. What was
 * signed is never written anew.
 */
export interface ConfigText {
  readonly manifest: string;
  readonly signature: string;
  readonly previousRevision: number;
  readonly changed: readonly string[];
  readonly removed: readonly (readonly [kind: string, key: string])[];
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function configTextOf({ signed, previousRevision, delta }: ConfigMessage): ConfigText {
  return {
    manifest: utf8.decode(signed.document),
    signature: Buffer.from(signed.signature).toString('base64'),
    previousRevision,
    changed: delta?.changed.map((bytes) => utf8.decode(bytes)) ?? [],
    removed: delta?.removed ?? [],
  };
}

/** Throws `malformed-body`. */
export function configFromText(value: Readonly<Record<string, unknown>>): ConfigMessage {
  const { manifest, signature, previousRevision, changed, removed } = value;
  if (typeof manifest !== 'string' || typeof signature !== 'string') throw malformed('manifest');
  if (typeof previousRevision !== 'number' || !Number.isSafeInteger(previousRevision))
    throw malformed('previousRevision');
  if (!Array.isArray(changed) || !Array.isArray(removed)) throw malformed('changed');
  return {
    signed: { document: Buffer.from(manifest, 'utf8'), signature: Buffer.from(signature, 'base64') },
    previousRevision,
    delta: {
      changed: changed.map((item: unknown) => {
        if (typeof item !== 'string') throw malformed('changed');
        return Buffer.from(item, 'utf8');
      }),
      removed: removed.map((item: unknown): readonly [string, string] => {
        if (!Array.isArray(item) || typeof item[0] !== 'string' || typeof item[1] !== 'string')
          throw malformed('removed');
        return [item[0], item[1]];
      }),
    },
  };
}

function malformed(name: string): PlatformError {
  return new PlatformError('malformed-body', `config: ${name} is missing or of the wrong type`);
}
