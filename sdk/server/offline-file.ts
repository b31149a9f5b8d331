import { readFileSync, statSync } from 'node:fs';
import { type LocalConfig, localConfigOf } from './local-config.js';

export interface OfflineFileParts {
  readonly path: string;
  /** Throws when it cannot be used. */
  readonly onConfig: (config: LocalConfig) => void;
  readonly warn: (message: string, error?: unknown) => void;
}

/** Polled, not subscribed to: editors replace files, and folders come over networks. */
const WATCH_MS = 500;

/** Flags of a file, read at once and again whenever it changes. What cannot be used is warned of, and the last good flags stay (I13). */
export class OfflineFile {
  readonly #parts: OfflineFileParts;
  readonly #timer: NodeJS.Timeout;
  /** What tells one state of the file from the next, taken before it is read: a change in between is read once more. */
  #seen = '';

  constructor(parts: OfflineFileParts) {
    this.#parts = parts;
    this.#look();
    this.#timer = setInterval(() => this.#look(), WATCH_MS);
    this.#timer.unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const { path, onConfig, warn } = this.#parts;
    try {
      const state = stateOf(path);
      if (state === this.#seen) return;
      this.#seen = state;
      onConfig(localConfigOf(JSON.parse(readFileSync(path, 'utf8'))));
    } catch (error) {
      warn('the offline file cannot be used', error);
    }
  }
}

function stateOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? 'none' : [stat.mtimeMs, stat.size, stat.ino].join();
}
