import type { BrowserClient } from './browser-client.js';
import type { BrowserClientOptions } from './client-options.js';
import { RemoteClient } from './remote-client.js';

/** A client for the page; on a server, one that serves its bootstrap and connects nowhere. Throws TypeError for options that can never work. */
export function createBrowserClient(options: BrowserClientOptions): BrowserClient {
  return new RemoteClient(options);
}
