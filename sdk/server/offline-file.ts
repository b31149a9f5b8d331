import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import type { FlagSet } from '@guidon/engine/in-process';
import { localConfigOf, parseLocalConfig } from './local-config.js';

export interface OfflineFileParts {
  readonly path: string;
  readonly onFlags: (flagSet: FlagSet) => void;
  readonly warn: (message: string, error?: unknown) => void;
}

/** Polled, not subscribed to: editors replace files, and folders come over networks. */
const WATCH_MS = 500;

/** Flags of a file, read at once and again whenever it changes. What cannot be used is warned of, and the last good flags stay (I13). */
export class OfflineFile {
  readonly #parts: OfflineFileParts;
  #text: string | undefined;
  readonly #read = (): void => {
    const { path, onFlags, warn } = this.#parts;
    try {
      const text = readFileSync(path, 'utf8');
      if (text === this.#text) return;
      this.#text = text;
      onFlags(parseLocalConfig(localConfigOf(JSON.parse(text))));
    } catch (error) {
      warn('the offline file cannot be used', error);
    }
  };

  constructor(parts: OfflineFileParts) {
    this.#parts = parts;
    this.#read();
    watchFile(parts.path, { interval: WATCH_MS, persistent: false }, this.#read);
  }

  close(): void {
    unwatchFile(this.#parts.path, this.#read);
  }
}
