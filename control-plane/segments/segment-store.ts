import { decodeDefinition, hashText, type SegmentKeyList, type SegmentKeysDefinition } from '@guidon/engine';
import { type EnvironmentRef, PlatformError } from '@guidon/protocol';
import { notFound } from '../admin-api/problems.js';
import type { DefinitionEntryRow } from '../commit/definition-store.js';
import { readDefinitionBytes } from '../commit/environment-workspace.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import type { SegmentRecord } from './segment-record.js';

/** Left behind by a deleted segment, so that versions of a new one with the same key go on where the old ones ended (I5). */
export interface SegmentTombstone {
  readonly version: number;
}

export function findSegment(
  store: StoreReader,
  environment: EnvironmentRef,
  segmentKey: string,
): SegmentRecord | undefined {
  return store.find<SegmentRecord>(keys.segment(environment, segmentKey));
}

/** 404 when there is none. */
export function getSegment(store: StoreReader, environment: EnvironmentRef, segmentKey: string): SegmentRecord {
  const segment = findSegment(store, environment, segmentKey);
  if (segment === undefined) throw notFound();
  return segment;
}

/** A place in a list of keys: by unsigned hash, then by the key itself. Splitting a chunk moves no key to another place. */
export interface KeyPlace {
  readonly hash: number;
  readonly key: string;
}

/** Up to `limit` keys of one list behind `after`. Reads the chunks they lie in, not the list. */
export function listSegmentKeys(
  store: StoreReader,
  environment: EnvironmentRef,
  segment: SegmentRecord,
  list: Omit<SegmentKeyList, 'segment'>,
  page: { readonly after: KeyPlace | undefined; readonly limit: number },
): KeyPlace[] {
  const places: KeyPlace[] = [];
  for (const { prefix, read } of chunkReaders(store, environment, segment, list)) {
    if (page.after !== undefined && lastHashOf(prefix) < page.after.hash) continue;
    const found = read().keys.map((key) => ({ key, hash: hashText(key) }));
    const { after } = page;
    places.push(...found.filter((place) => after === undefined || comparePlaces(place, after) > 0).sort(comparePlaces));
    if (places.length >= page.limit) break;
  }
  return places.slice(0, page.limit);
}

interface ChunkReader {
  readonly prefix: string;
  readonly read: () => SegmentKeysDefinition;
}

/** The chunks of a list in the order of their prefixes, which is the order of the hashes in them. */
function chunkReaders(
  store: StoreReader,
  environment: EnvironmentRef,
  { key: segmentKey, archivedAt }: SegmentRecord,
  { list, contextKind }: Omit<SegmentKeyList, 'segment'>,
): ChunkReader[] {
  if (archivedAt !== null) {
    return store
      .list<SegmentKeysDefinition>(keys.archivedKeysOfList(environment, segmentKey, list, contextKind))
      .map(({ value }) => ({ prefix: value.prefix, read: () => value }));
  }
  return store
    .list<DefinitionEntryRow>(keys.definitionEntriesOf(environment, 'segment-keys', segmentKey))
    .flatMap(({ value: entry }) => {
      const prefix = prefixIn(entry.key, list, contextKind);
      if (prefix === undefined) return [];
      return [{ prefix, read: () => parseChunk(readDefinitionBytes(store, environment, entry)) }];
    })
    .sort((a, b) => (a.prefix < b.prefix ? -1 : 1));
}

/** Definition keys of chunks are `<segment>/<list>/<prefix>/<contextKind>`, and only the last part may hold a slash. */
function prefixIn(definitionKey: string, list: string, contextKind: string): string | undefined {
  const [, chunkList, prefix = '', ...rest] = definitionKey.split('/');
  return chunkList === list && rest.join('/') === contextKind ? prefix : undefined;
}

function parseChunk(bytes: Uint8Array): SegmentKeysDefinition {
  const parsed = decodeDefinition(bytes);
  if (parsed.ok && parsed.value.kind === 'segment-keys') return parsed.value;
  throw new PlatformError('storage-unavailable', 'a stored chunk of keys is damaged');
}

/** The largest hash that starts with these binary digits. */
function lastHashOf(prefix: string): number {
  return Number.parseInt(prefix.padEnd(32, '1'), 2);
}

function comparePlaces(a: KeyPlace, b: KeyPlace): number {
  if (a.hash !== b.hash) return a.hash - b.hash;
  return a.key === b.key ? 0 : a.key < b.key ? -1 : 1;
}
