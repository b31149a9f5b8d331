import type { BrowserClient } from '@guidon/browser-sdk';
import { GuidonProvider, useFlag, useFlagDetails, useSuspenseFlag } from '@guidon/react';
import { Suspense } from 'react';

/** How often each component was rendered; kept by whoever renders. */
export type Renders = Record<string, number>;

function Flag({ flagKey, renders }: { readonly flagKey: string; readonly renders: Renders }) {
  renders[flagKey] = (renders[flagKey] ?? 0) + 1;
  return <p id={flagKey}>{useFlag(flagKey, 'default')}</p>;
}

function Details({ flagKey }: { readonly flagKey: string }) {
  const { value, reason, errorCode } = useFlagDetails(flagKey, 'default');
  return <p id="details">{[value, reason, errorCode].join(' ')}</p>;
}

function Late({ flagKey }: { readonly flagKey: string }) {
  return <p id="late">{useSuspenseFlag(flagKey, 'default')}</p>;
}

/** The same on the server and in the page. */
export function App({ client, renders }: { readonly client: BrowserClient; readonly renders: Renders }) {
  return (
    <GuidonProvider client={client}>
      <Flag flagKey="gate" renders={renders} />
      <Flag flagKey="other" renders={renders} />
      <Details flagKey="gate" />
      <Suspense fallback={<p id="late">waiting</p>}>
        <Late flagKey="other" />
      </Suspense>
    </GuidonProvider>
  );
}
