import { GuidonWebProvider } from '@guidon/openfeature-web';
import { OpenFeature, ProviderEvents } from '@openfeature/web-sdk';

/** What a test reads and does in the page. */
export interface WebProviderPage {
  readonly api: typeof OpenFeature;
  readonly events: { readonly type: string; readonly flagsChanged: readonly string[] | undefined }[];
  /** Why the provider could not be set; undefined: it could. */
  readonly failure: string | undefined;
}

declare global {
  interface Window {
    openfeature: WebProviderPage;
  }
}

// The options stand in the fragment, which no server sees.
const { context, ...options } = JSON.parse(decodeURIComponent(location.hash.slice(1)));
const events: WebProviderPage['events'] = [];
for (const type of Object.values(ProviderEvents)) {
  OpenFeature.addHandler(type, (details) => {
    const flags: unknown = details !== undefined && 'flagsChanged' in details ? details.flagsChanged : undefined;
    events.push({ type, flagsChanged: Array.isArray(flags) ? flags.map(String) : undefined });
  });
}
await OpenFeature.setContext(context);
const failure: string | undefined = await OpenFeature.setProviderAndWait(new GuidonWebProvider(options)).then(
  () => undefined,
  (error: unknown) => String(error),
);
window.openfeature = { api: OpenFeature, events, failure };
document.title = 'ready';
