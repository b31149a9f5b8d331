import { PlatformError } from '@guidon/protocol';
import type { Versioned, WriteRequest } from './change.js';

export function etagOf(version: number): string {
  return `"${version}"`;
}

/**
 * The first thing a plan does with the record it is about to change. The transaction then checks that the record is still the one
 * compared here, so an update cannot be lost (I5). 428 without If-Match, 412 with the current ETag when it names another version.
 */
export function assertIfMatch(request: WriteRequest, record: Versioned): void {
  if (request.ifMatch === undefined) {
    throw new PlatformError('precondition-required', 'send If-Match with the ETag you have read');
  }
  const currentEtag = etagOf(record.version);
  if (!request.ifMatch.includes(currentEtag)) {
    throw new PlatformError('revision-conflict', `it is at ${currentEtag} now`, { extensions: { currentEtag } });
  }
}
