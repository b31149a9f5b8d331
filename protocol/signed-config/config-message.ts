import type { Signed } from './signature.js';

/**
 * One revision on its way to a node, over the bus and over HTTP alike:
 * `{manifest, signature, previousRevision, changed: [definition bytes…], removed: [[kind, key]…]}`, as msgpack or as JSON (config-text.ts).
 * `previousRevision` 0: `changed` is the whole configuration. `changed` absent: the bus message was too big, fetch over HTTP.
 */
export interface ConfigMessage {
  readonly signed: Signed;
  readonly previousRevision: number;
  readonly delta?: {
    readonly changed: readonly Uint8Array[];
    readonly removed: readonly (readonly [kind: string, key: string])[];
  };
  /** On the bus alone: W3C Trace Context of who sent it. Nobody signs it, nothing is decided by it. */
  readonly traceparent?: string;
}

/** Above this a bus message carries the manifest alone. */
export const BUS_MESSAGE_BYTES_MAX = 512 * 1024;
