import { createBrowserClient, type FlagDetails } from '@guidon/browser-sdk';

/** What the page is asked: all flags of a context, as the getters of each type say. */
export interface AskedContext {
  readonly contextText: string;
  readonly flagKeys: readonly string[];
}

declare global {
  interface Window {
    ask: (url: string, key: string, contexts: readonly AskedContext[]) => Promise<string>;
  }
}

/** One client goes from context to context. JSON of an object of details by flag key for each: that alone keeps a `__proto__`. */
window.ask = async (url, key, contexts) => {
  const client = createBrowserClient({ url, key, storage: null, stream: 'poll' });
  const answers: Record<string, FlagDetails>[] = [];
  for (const { contextText, flagKeys } of contexts) {
    if (!(await client.identify(JSON.parse(contextText)))) throw new Error(`no values for ${contextText}`);
    const details = flagKeys.map((flagKey): [string, FlagDetails] => {
      const typed = [
        client.jsonDetails(flagKey, []),
        client.stringDetails(flagKey, ''),
        client.numberDetails(flagKey, 0),
        client.booleanDetails(flagKey, false),
      ];
      const right = typed.find(({ errorCode }) => errorCode !== 'TYPE_MISMATCH');
      if (right === undefined) throw new Error(`no getter has the type of ${flagKey}`);
      return [flagKey, right];
    });
    answers.push(Object.fromEntries(details));
  }
  await client.close();
  return JSON.stringify(answers);
};
