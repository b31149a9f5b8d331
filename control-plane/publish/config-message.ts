import { type EnvironmentRef, PlatformError } from '@guidon/protocol';
import { encodeConfigMessage } from '@guidon/protocol/msgpack';
import { BUS_MESSAGE_BYTES_MAX, type ConfigMessage, type Signed } from '@guidon/protocol/signed-config';
import { assertKept, type DefinitionName, findEntryAt } from '../commit/definition-history.js';
import { changesSince, type EnvironmentStateRow, findEntry, type RevisionRow } from '../commit/definition-store.js';
import { readDefinitionBytes, readDefinitions } from '../commit/environment-workspace.js';
import type { AccessStateRow } from '../commit/write-environment.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';

/**
 * A revision, the newest by default, as a change from `since`; the whole when `since` is absent, unknown or no longer kept. `renew` may exchange
 * the manifest for one of the same revision with new dates. Throws `revision-gone` for a revision whose definitions are let go.
 */
export function configMessage(
  store: StoreReader,
  environment: EnvironmentRef,
  { since, revision: wanted, renew = (signed) => signed }: ConfigMessageOptions,
): ConfigMessage {
  const newest = store.find<EnvironmentStateRow>(keys.environmentState(environment))?.revision;
  const row = store.find<RevisionRow>(keys.revision(environment, wanted ?? newest ?? 0));
  if (row === undefined) throw new PlatformError('not-found', 'there is no such environment');
  const { revision } = row;
  const isNewest = revision === newest;
  if (!isNewest) assertKept(store, environment, revision);
  const signed = renew(signedFrom(row.manifest, row.signature));
  const touched = isBehind(since, revision) ? changesSince(store, environment, since, revision) : undefined;
  if (touched !== undefined && since !== undefined) {
    const entries = touched.map((name) => ({
      ...name,
      entry: isNewest
        ? findEntry(store, environment, name.kind, name.key)
        : findEntryAt(store, environment, name, revision),
    }));
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
  const changed = isNewest
    ? [...readDefinitions(store, environment)].map(({ definition }) => definition)
    : readDefinitionsAt(store, environment, revision);
  return { signed, previousRevision: 0, delta: { changed, removed: [] } };
}

export interface ConfigMessageOptions {
  readonly since?: number | undefined;
  readonly revision?: number | undefined;
  readonly renew?: (signed: Signed) => Signed;
}

/** Everything that was in force at a kept revision. */
function readDefinitionsAt(store: StoreReader, environment: EnvironmentRef, revision: number): Uint8Array[] {
  return store.list<DefinitionName>(keys.definitionNames(environment)).flatMap(({ value: name }) => {
    const entry = findEntryAt(store, environment, name, revision);
    return entry === undefined ? [] : [readDefinitionBytes(store, environment, entry)];
  });
}

/** For the bus, from one revision to another: a change that is too large travels as its manifest alone and nodes fetch the rest. */
export function busMessage(
  store: StoreReader,
  { from, to, ...environment }: EnvironmentRef & { readonly from: number; readonly to: number },
  traceparent?: string,
): Uint8Array {
  const config = configMessage(store, environment, { since: from === 0 ? undefined : from, revision: to });
  const message = traceparent === undefined ? config : { ...config, traceparent };
  const deltaBytes = message.delta?.changed.reduce((sum, bytes) => sum + bytes.length, 0) ?? 0;
  if (deltaBytes < BUS_MESSAGE_BYTES_MAX) {
    const encoded = encodeConfigMessage(message);
    if (encoded.length <= BUS_MESSAGE_BYTES_MAX) return encoded;
  }
  const { delta: _, ...manifest } = message;
  return encodeConfigMessage(manifest);
}

/** Revision 0 is nowhere: a node without one asks for the whole. */
function isBehind(since: number | undefined, revision: number): since is number {
  return since !== undefined && since > 0 && since <= revision;
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
