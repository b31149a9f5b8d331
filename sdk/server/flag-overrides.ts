import type { Json } from '@guidon/protocol';
import type { Environment } from './settings.js';

const PREFIX = 'GUIDON_FLAG_';

/**
 * Values that the environment of the process gives flags, whatever the configuration says: `GUIDON_FLAG_NEW_CHECKOUT=true` is for `new-checkout`. JSON
 * where it is JSON, else a text. Read once.
 */
export class FlagOverrides {
  readonly #values = new Map<string, Json>();

  constructor(env: Environment) {
    for (const [name, text] of Object.entries(env)) {
      if (name.startsWith(PREFIX) && text !== undefined) this.#values.set(name.slice(PREFIX.length), readValue(text));
    }
  }

  get isEmpty(): boolean {
    return this.#values.size === 0;
  }

  /** Undefined: the flag is not overridden. */
  find(flagKey: string): Json | undefined {
    if (this.isEmpty || typeof flagKey !== 'string') return undefined;
    return this.#values.get(flagKey.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_'));
  }
}

function readValue(text: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
