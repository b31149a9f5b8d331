import type { GuidonClient } from './client.js';
import { FlagClient } from './flag-client.js';
import { FlagOverrides } from './flag-overrides.js';
import { type ClientOptions, parseOptions } from './settings.js';

/**
 * A client that evaluates in this process. It begins to follow the nodes at once; what a data folder or a bootstrap has is served when this returns.
 * Throws TypeError for options that can never work, and where the data folder cannot be made.
 */
export function createClient(options: ClientOptions = {}): GuidonClient {
  return new FlagClient(parseOptions(options, process.env), new FlagOverrides(process.env));
}
