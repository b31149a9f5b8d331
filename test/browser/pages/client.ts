import { type BrowserClient, type BrowserClientOptions, createBrowserClient } from '@guidon/browser-sdk';

/** What a test reads and does in the page. */
export interface ClientPage {
  readonly client: BrowserClient;
  /** What changed, in order, and when: epoch milliseconds. */
  readonly changes: { readonly at: number; readonly flagKeys: readonly string[] }[];
  readonly warnings: string[];
  /** URL, method and protocols of every request, socket and event source that the page began. */
  readonly requests: string[];
}

declare global {
  interface Window {
    guidon: ClientPage;
  }
}

// Before the client: it takes what the browser offers when it is used.
const requests: string[] = [];
const send = window.fetch.bind(window);
window.fetch = (input, init) => {
  requests.push(`${init?.method ?? 'GET'} ${input instanceof Request ? input.url : input.toString()}`);
  return send(input, init);
};
window.WebSocket = class extends WebSocket {
  constructor(url: string | URL, protocols?: string | string[]) {
    requests.push(`WEBSOCKET ${url}`);
    super(url, protocols);
  }
};
window.EventSource = class extends EventSource {
  constructor(url: string | URL) {
    requests.push(`EVENTS ${url}`);
    super(url);
  }
};
// A page that is being left can tell nobody what it sent, but the next page of its origin.
const beacon = navigator.sendBeacon.bind(navigator);
navigator.sendBeacon = (url, body) => {
  localStorage.setItem(
    'beacons',
    `${localStorage.getItem('beacons') ?? ''}${url.toString()} ${typeof body === 'string' ? body : ''}\n`,
  );
  return beacon(url, body);
};

// The options stand in the fragment, which no server sees.
const options: BrowserClientOptions = JSON.parse(decodeURIComponent(location.hash.slice(1)));
const warnings: string[] = [];
const changes: ClientPage['changes'] = [];
const client = createBrowserClient({ ...options, logger: { warn: (message) => warnings.push(message) } });
client.onChange(undefined, (flagKeys) => changes.push({ at: Date.now(), flagKeys }));
window.guidon = { client, changes, warnings, requests };
