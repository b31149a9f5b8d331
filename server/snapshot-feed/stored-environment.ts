import type { Signed } from '@guidon/protocol/signed-config';
import type { PersistedState } from '../snapshot-store/snapshot-store.js';

/** What serves of one environment, as the disk has it. */
export interface StoredEnvironment {
  readonly state: PersistedState | undefined;
  readonly access: Signed | undefined;
}

/** Tell one stored state from another without parsing it: the same document has the same signature. */
export interface Signatures {
  readonly config: Uint8Array | undefined;
  readonly access: Uint8Array | undefined;
}

export function signaturesOf({ state, access }: StoredEnvironment): Signatures {
  return { config: state?.signed.signature, access: access?.signature };
}

export function isSameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : Buffer.compare(a, b) === 0;
}
