import { type BrowserClient, createTestClient, type JsonObject } from '@guidon/browser-sdk';
import { createContext, type ReactNode, useContext, useMemo } from 'react';

const ClientContext = createContext<BrowserClient | undefined>(undefined);

export interface GuidonProviderProps {
  /** Made once, outside of rendering. Whoever made it closes it. */
  readonly client: BrowserClient;
  readonly children?: ReactNode;
}

/** Gives the flags of `client` to the hooks below it. */
export function GuidonProvider({ client, children }: GuidonProviderProps) {
  return <ClientContext.Provider value={client}>{children}</ClientContext.Provider>;
}

export interface GuidonTestProviderProps {
  /** Values by flag key. Another object with other values gives the hooks those. */
  readonly flags: JsonObject;
  readonly children?: ReactNode;
}

/** For tests: gives `flags` to the hooks below it, and talks to nobody. */
export function GuidonTestProvider({ flags, children }: GuidonTestProviderProps) {
  const text = JSON.stringify(flags);
  const client = useMemo(() => createTestClient(JSON.parse(text)), [text]);
  return <GuidonProvider client={client}>{children}</GuidonProvider>;
}

/** The client of the nearest provider: for `identify`, `track` and the like. Throws where there is no provider. */
export function useGuidonClient(): BrowserClient {
  const client = useContext(ClientContext);
  if (client === undefined) throw new Error('no GuidonProvider is above this component');
  return client;
}
