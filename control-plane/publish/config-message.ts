import { type EnvironmentRef, PlatformError } from '@guidon/protocol';
import { encodeConfigMessage } from '@guidon/protocol/msgpack';
import { BUS_MESSAGE_BYTES_MAX, type ConfigMessage, type Signed } from '@guidon/protocol/signed-config';
import { changesSince, type EnvironmentStateRow, findEntry, type RevisionRow } from '../commit/definition-store.js';
import { readDefinitionBytes, readDefinitions } from '../commit/environment-workspace.js';
import type { AccessStateRow } from '../commit/write-environment.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';

/**
 * The newest revision as a change from `since`; the whole when `since` is absent, unknown or no longer kept. `renew` may exchange the
 * manifest for one of the same revision with new dates.
 */
export function configMessage(
  store: StoreReader,
  environment: EnvironmentRef,
  since: number | undefined,
  renew: (signed: Signed) => Signed = (signed) => signed,
): ConfigMessage {
  const { revision, signed: stored } = newestManifest(store, environment);
  const signed = renew(stored);
  const touched = isBehind(since, revision) ? changesSince(store, environment, since) : undefined;
  if (touched !== undefined && since !== undefined) {
    const entries = touched.map(({ kind, key }) => ({ kind, key, entry: findEntry(store, environment, kind, key) }));
    return {
      signed,
      previousRevision: since,
      delta: {
        changed: entries.flatMap(({ entry }) =>
          entry === undefined ? [] : [readDefinitionBytes(store, environment, entry)],
        ),
        removed: entries.flatMap(({ kind, key, entry }) => (entry === undefined ? [[kind, key] as const] : [])),
      },
    };
  }
  const changed = [...readDefinitions(store, environment)].map(({ definition }) => definition);
  return { signed, previousRevision: 0, delta: { changed, removed: [] } };
}

/** For the bus: a change that is too large travels as its manifest alone and nodes fetch the rest. */
export function busMessage(store: StoreReader, environment: EnvironmentRef, since: number): Uint8Array {
  const message = configMessage(store, environment, since === 0 ? undefined : since);
  const deltaBytes = message.delta?.changed.reduce((sum, bytes) => sum + bytes.length, 0) ?? 0;
  if (deltaBytes < BUS_MESSAGE_BYTES_MAX) {
    const encoded = encodeConfigMessage(message);
    if (encoded.length <= BUS_MESSAGE_BYTES_MAX) return encoded;
  }
  return encodeConfigMessage({ signed: message.signed, previousRevision: message.previousRevision });
}

/** Revision 0 is nowhere: a node without one asks for the whole. */
function isBehind(since: number | undefined, revision: number): since is number {
  return since !== undefined && since > 0 && since <= revision;
}

function newestManifest(store: StoreReader, environment: EnvironmentRef): { revision: number; signed: Signed } {
  const state = store.find<EnvironmentStateRow>(keys.environmentState(environment));
  const row = state === undefined ? undefined : store.find<RevisionRow>(keys.revision(environment, state.revision));
  if (row === undefined) throw new PlatformError('not-found', 'there is no such environment');
  return { revision: row.revision, signed: signedFrom(row.manifest, row.signature) };
}

/** The access list in force; undefined when there is no such environment. */
export function findAccessList(store: StoreReader, environment: EnvironmentRef): Signed | undefined {
  const row = store.find<AccessStateRow>(keys.accessState(environment));
  return row === undefined ? undefined : signedFrom(row.document, row.signature);
}

/** Bytes exactly as they were signed. */
function signedFrom(document: string, signature: string): Signed {
  return { document: Buffer.from(document, 'utf8'), signature: Buffer.from(signature, 'base64') };
}
