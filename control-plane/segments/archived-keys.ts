import type { SegmentKeysDefinition } from '@guidon/engine';
import type { EnvironmentRef } from '@guidon/protocol';
import type { StoreReader } from '../store/control-store.js';
import { keys, type StoreKey } from '../store/keys.js';

interface Row {
  readonly key: StoreKey;
  readonly value: unknown;
}

/** The rows that keep the keys of a segment while it is archived: chunks as they were served. */
export function archivedKeyRows(environment: EnvironmentRef, chunks: readonly SegmentKeysDefinition[]): Row[] {
  return chunks.map((chunk) => ({
    key: keys.archivedKeys(environment, chunk.segment, chunk.list, chunk.contextKind, chunk.prefix),
    value: chunk,
  }));
}

export function readArchivedKeys(
  store: StoreReader,
  environment: EnvironmentRef,
  segmentKey: string,
): SegmentKeysDefinition[] {
  return store
    .list<SegmentKeysDefinition>(keys.archivedKeysOf(environment, segmentKey))
    .map(({ value: { kind, segment, list, contextKind, prefix, keys: chunkKeys } }) => ({
      kind,
      segment,
      list,
      contextKind,
      prefix,
      keys: chunkKeys,
    }));
}

/** Takes those rows away. */
export function archivedKeyTombs(store: StoreReader, environment: EnvironmentRef, segmentKey: string): Row[] {
  return store
    .list<SegmentKeysDefinition>(keys.archivedKeysOf(environment, segmentKey))
    .map(({ key }) => ({ key, value: undefined }));
}
