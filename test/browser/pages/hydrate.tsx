import { type BrowserClient, type BrowserClientOptions, createBrowserClient } from '@guidon/browser-sdk';
import { createRoot, hydrateRoot } from 'react-dom/client';
import { App, type Renders } from './react-app.js';

declare global {
  interface Window {
    hydrated: { readonly client: BrowserClient; readonly renders: Renders; readonly texts: Record<string, string[]> };
  }
}

interface PageOptions extends BrowserClientOptions {
  /** Hydration waits until the client says this of `gate`: as if scripts came late. */
  readonly hydrateAt?: string;
}

/** Hydrates what the server rendered, or renders where it rendered nothing, and remembers every text that was ever shown. */
const options: PageOptions = JSON.parse(document.querySelector('#options')?.textContent ?? '');
const root = document.querySelector('#root');
if (root === null) throw new Error('the page has a root');

const texts: Record<string, string[]> = {};
const note = (): void => {
  for (const { id, textContent } of root.querySelectorAll('p')) {
    texts[id] ??= [];
    const seen = texts[id];
    if (textContent !== null && seen.at(-1) !== textContent) seen.push(textContent);
  }
};
note();
new MutationObserver(note).observe(root, { subtree: true, childList: true, characterData: true });

const client = createBrowserClient(options);
const renders: Renders = {};
const { hydrateAt } = options;
while (hydrateAt !== undefined && client.string('gate', '') !== hydrateAt) {
  await new Promise((resolve) => setTimeout(resolve, 5));
}
const app = <App client={client} renders={renders} />;
// What does not match would be repaired in silence.
const onRecoverableError = (error: unknown) => console.error('recovered', error);
if (root.childElementCount > 0) hydrateRoot(root, app, { onRecoverableError });
else createRoot(root).render(app);
window.hydrated = { client, renders, texts };
