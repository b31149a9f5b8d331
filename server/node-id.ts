import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findCredential } from '@guidon/protocol/signed-config';

const SUFFIX = /^[0-9a-f]{8}$/;

/**
 * What this node is called: the id of its credential and a suffix that its directory keeps, so that several nodes may share a credential and each
 * is the same one after a restart.
 */
export function readNodeId(dataDirectory: string, nodeCredential: string): string {
  const credentialId = findCredential(nodeCredential)?.credentialId ?? 'unknown';
  return `${credentialId}-${readSuffix(dataDirectory)}`;
}

function readSuffix(dataDirectory: string): string {
  const path = join(dataDirectory, 'node-id');
  const kept = findSuffix(path);
  if (kept !== undefined) return kept;
  const suffix = randomBytes(4).toString('hex');
  try {
    mkdirSync(dataDirectory, { recursive: true });
    writeFileSync(path, `${suffix}\n`, { flag: 'wx' });
    return suffix;
  } catch {
    // Another process of this node was faster, or nothing can be written: then it is called otherwise after a restart.
    return findSuffix(path) ?? suffix;
  }
}

function findSuffix(path: string): string | undefined {
  try {
    const text = readFileSync(path, 'utf8').trim();
    return SUFFIX.test(text) ? text : undefined;
  } catch {
    return undefined;
  }
}
