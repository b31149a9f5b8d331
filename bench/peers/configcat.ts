import {
  createConsoleLogger,
  getClient,
  type IConfigCatCache,
  LogLevel,
  PollingMode,
  User,
  UserComparator,
} from 'configcat-node';
import type { AttributeClause, CreatePeer, FlagDefinition } from '../side-by-side/peer.js';
import { at, fallthroughOf, limitOf, type PlainWeight, rulesOf, textsOf } from './plain-rules.js';

/** Offline, from its config JSON in a cache of our own; asked through a snapshot, which is its synchronous way. */
export const createPeer: CreatePeer = async ({ flags, contexts }) => {
  const settings = Object.fromEntries(flags.map((flag) => [flag.key, settingOf(flag)]));
  const cached = `${Date.now()}\n"etag"\n${JSON.stringify({ p: { u: '', r: 0, s: 'salt' }, f: settings })}`;
  const cache: IConfigCatCache = { get: () => cached, set: () => undefined };
  const sdkKey = 'configcat-sdk-1/bench-bench-bench-benc/bench-bench-bench-benc';
  const client = getClient(sdkKey, PollingMode.ManualPoll, {
    offline: true,
    cache,
    logger: createConsoleLogger(LogLevel.Off),
  });
  await client.waitForReady();
  await client.forceRefreshAsync(); // offline: reads the cache
  const snapshot = client.snapshot();
  const own = contexts.map(
    ({ targetingKey, email, country, beta, ...custom }) =>
      new User(targetingKey, email, country, { ...custom, beta: String(beta) }),
  );
  const isBoolean = at(flags, 0).type === 'boolean';
  return {
    ask: (flagKey, index) => {
      if (isBoolean) return snapshot.getValue(flagKey, false, at(own, index)) ? 'on' : 'off';
      return snapshot.getValue(flagKey, 'default', at(own, index));
    },
    close: () => client.dispose(),
  };
};

function settingOf(flag: FlagDefinition): object {
  const valueUnder = (variation: string): object =>
    flag.type === 'boolean' ? { b: variation === 'on' } : { s: variation };
  const percentages = (weights: readonly PlainWeight[]): object[] =>
    weights.map(({ variation, weight }) => ({ p: weight / 1_000, v: valueUnder(variation) }));
  const whole = fallthroughOf(flag);
  return {
    t: flag.type === 'boolean' ? 0 : 1,
    r: rulesOf(flag).map(({ clauses, weights }) => ({
      c: clauses.map((clause) => ({ u: conditionOf(clause) })),
      ...(weights.length === 1 ? { s: { v: valueUnder(at(weights, 0).variation) } } : { p: percentages(weights) }),
    })),
    ...(whole.length === 1 ? {} : { p: percentages(whole) }),
    v: valueUnder(flag.offVariation),
  };
}

const BUILT_IN: Readonly<Record<string, string>> = { email: 'Email', country: 'Country' };

function conditionOf(clause: AttributeClause): object {
  const a = BUILT_IN[clause.attribute] ?? clause.attribute;
  const texts = textsOf(clause);
  if (clause.op === 'in') return { a, c: UserComparator.TextIsOneOf, l: texts };
  if (clause.op === 'gte') return { a, c: UserComparator.NumberGreaterOrEquals, d: limitOf(clause) };
  if (clause.op === 'startsWith') return { a, c: UserComparator.TextStartsWithAnyOf, l: texts };
  return { a, c: UserComparator.SemVerGreaterOrEquals, s: at(texts, 0) };
}
