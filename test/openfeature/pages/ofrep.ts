import { OFREPWebProvider, type OFREPWebProviderOptions } from '@openfeature/ofrep-web-provider';
import { OpenFeature, ProviderEvents } from '@openfeature/web-sdk';

/** What a test reads and does in the page. */
export interface OfrepPage {
  readonly api: typeof OpenFeature;
  /** Status and ETag of every answer, in order. */
  readonly answers: { readonly status: number; readonly etag: string | null; readonly url: string }[];
  readonly events: { readonly type: string; readonly flagsChanged: readonly string[] | undefined }[];
}

declare global {
  interface Window {
    ofrep: OfrepPage;
  }
}

// The options stand in the fragment, which no server sees.
const { baseUrl, key, pollInterval, changeDetection } = JSON.parse(decodeURIComponent(location.hash.slice(1)));
const answers: OfrepPage['answers'] = [];
const events: OfrepPage['events'] = [];
const options = {
  baseUrl,
  headers: [['Authorization', `Bearer ${key}`]],
  pollInterval,
  changeDetection,
  fetchImplementation: async (input: RequestInfo | URL, init?: RequestInit) => {
    const response = await window.fetch(input, init);
    const url = input instanceof Request ? input.url : String(input);
    answers.push({ status: response.status, etag: response.headers.get('etag'), url });
    return response;
  },
} satisfies OFREPWebProviderOptions;
// Its type says that it may have no hooks, which the API's does not allow here.
const provider = Object.assign(new OFREPWebProvider(options), { hooks: [] });
for (const type of Object.values(ProviderEvents)) {
  OpenFeature.addHandler(type, (details) => {
    events.push({ type, flagsChanged: flagsIn(details) });
  });
}
await OpenFeature.setContext({ targetingKey: 'u1' });
await OpenFeature.setProviderAndWait(provider).catch(() => undefined);
window.ofrep = { api: OpenFeature, answers, events };
document.title = 'ready';

function flagsIn(details: object | undefined): string[] | undefined {
  const flags: unknown = details !== undefined && 'flagsChanged' in details ? details.flagsChanged : undefined;
  return Array.isArray(flags) ? flags.map(String) : undefined;
}
