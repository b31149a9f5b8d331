import type { FlagDefinition } from '@guidon/engine';
import { WORST_CONTEXT, worstFlags } from '../neighbour/worst-flags.js';
import { encodeBody } from '../support/http-request.js';
import { w2Flag, w3Flags, workloadContexts } from '../workloads.js';

/** One request that may block a thread for long, within every limit of the flag model and of requests. */
export interface WorstRequest {
  readonly name: string;
  readonly flags: readonly FlagDefinition[];
  readonly path: '/v1/evaluate' | '/v1/evaluate/batch';
  readonly format: 'msgpack' | 'json';
  readonly body: Buffer;
}

const textFlag = (key: string, op: 'contains' | 'containsIgnoreCase', count: number): FlagDefinition => ({
  ...w2Flag(key),
  rules: [
    {
      id: 'r',
      // Long needles that agree with the text for long.
      when: { attribute: 's', op, values: Array.from({ length: count }, (_, index) => `${'a'.repeat(20)}b${index}`) },
      serve: { variation: 'off' },
    },
  ],
});

const LARGE_VALUE = 'x'.repeat(60_000);
const largeFlags = (): FlagDefinition[] =>
  Array.from({ length: 50 }, (_, index) => ({
    ...w2Flag(`large-${index}`),
    type: 'string' as const,
    variations: ['treatment', 'control', 'off'].map((key) => ({ key, value: LARGE_VALUE + key })),
  }));

const range = <T>(length: number, item: (index: number) => T): T[] => Array.from({ length }, (_, index) => item(index));

export function worstRequests(): WorstRequest[] {
  const w3 = w3Flags();
  const keys = w3.map(({ key }) => key);
  const contexts = workloadContexts();
  const text = { s: 'a'.repeat(31_000) };
  const texts = range(3, (index) => textFlag(`text-${index}`, index === 0 ? 'containsIgnoreCase' : 'contains', 200));
  const batch = (name: string, flags: readonly FlagDefinition[], value: object): WorstRequest[] =>
    (['msgpack', 'json'] as const).map((format) => {
      return { name: `${name}, ${format}`, flags, path: '/v1/evaluate/batch', format, body: encodeBody(value, format) };
    });
  const padded = range(128, (index) => ({ ...contexts[index], padding: 'é'.repeat(15_900) }));
  return [
    ...batch('10 000 evaluations', w3, { contexts: contexts.slice(0, 50), flags: keys }),
    ...batch('10 000 pairs', w3, {
      requests: range(10_000, (index) => ({ flag: keys[index % keys.length], context: contexts[index] })),
    }),
    ...batch('4 MiB of contexts', w3, { contexts: padded, flags: [keys[0]] }),
    ...batch('texts', texts, { contexts: range(6, () => text), flags: texts.map(({ key }) => key) }),
    ...batch('regular expressions', worstFlags(), {
      contexts: range(2, () => WORST_CONTEXT),
      flags: worstFlags().map(({ key }) => key),
    }),
    ...batch('30 MB of answers', largeFlags(), {
      contexts: contexts.slice(0, 10),
      flags: largeFlags().map(({ key }) => key),
    }),
  ];
}
