import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../regressions/', import.meta.url));

/** Cases of `suite` that failed once, as kept in test/regressions. They are replayed before anything random. */
export function readRegressions<T>(suite: string): { name: string; value: T }[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.startsWith(`${suite}-`) && name.endsWith('.json'))
    .map((name) => ({ name, value: JSON.parse(readFileSync(join(folder, name), 'utf8')) as T }));
}

/** Keeps a shrunk failing case for good; its name is its content. */
export function writeRegression(suite: string, value: unknown): void {
  const json = `${JSON.stringify(value, undefined, 2)}\n`;
  mkdirSync(folder, { recursive: true });
  const name = `${suite}-${createHash('sha256').update(json).digest('hex').slice(0, 12)}.json`;
  writeFileSync(join(folder, name), json);
}
