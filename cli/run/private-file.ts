import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { PlatformError } from '@guidon/protocol';

/** Writes `text` so that only this user can read it, all or nothing. */
export function writePrivateFile(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, text, { mode: 0o600 });
  renameSync(temporary, path);
}

export function findPrivateFile(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined;
}

export function readPrivateFile(path: string, what: string): string {
  const text = findPrivateFile(path);
  if (text === undefined) throw new PlatformError('not-found', `${path} does not exist; it must hold ${what}`);
  return text;
}
