import { createHash } from 'node:crypto';
import { initializeDevCycle } from '@devcycle/nodejs-server-sdk';
import { type ConfigBody, ConfigSource } from '@devcycle/types';
import type { AttributeClause, CreatePeer, FlagDefinition } from '../side-by-side/peer.js';
import { at, fallthroughOf, type PlainRule, rulesOf } from './plain-rules.js';

/** Hands over a configuration that was made here. */
class LocalSource extends ConfigSource {
  readonly #config: ConfigBody;

  constructor(config: ConfigBody) {
    super();
    this.#config = config;
  }

  override getConfig(): Promise<{ config: ConfigBody; lastModified: null; metaData: Record<string, unknown> }> {
    return Promise.resolve({ config: this.#config, lastModified: null, metaData: {} });
  }

  override getConfigURL(): string {
    return 'local';
  }
}

/** Its AssemblyScript bucketing in WASM, from a source of our own; no events, no real-time updates. */
export const createPeer: CreatePeer = async ({ flags, contexts }) => {
  const client = initializeDevCycle('dvc_server_bench', {
    configSource: new LocalSource(configOf(flags)),
    configPollingIntervalMS: 86_400_000,
    disableRealTimeUpdates: true,
    disableAutomaticEventLogging: true,
    disableCustomEventLogging: true,
    eventFlushIntervalMS: 60_000,
    logger: { error: console.error, warn() {}, info() {}, debug() {} },
  });
  await client.onClientInitialized();
  const own = contexts.map(({ targetingKey: user_id, email, country, appVersion, ...customData }) => ({
    user_id,
    email,
    country,
    appVersion,
    customData,
  }));
  const isBoolean = at(flags, 0).type === 'boolean';
  return {
    ask: (flagKey, index) => {
      if (isBoolean) return client.variableValue(at(own, index), flagKey, false) ? 'on' : 'off';
      return client.variableValue(at(own, index), flagKey, 'default');
    },
    close: () => client.close(),
  };
};

function configOf(flags: readonly FlagDefinition[]): ConfigBody {
  const config = {
    project: { _id: id('project'), key: 'bench', a0_organization: 'bench', settings: SETTINGS },
    environment: { _id: id('environment'), key: 'bench' },
    features: flags.map(featureOf),
    variables: flags.map(({ key, type }) => ({
      _id: id(`variable-${key}`),
      key,
      type: type === 'boolean' ? 'Boolean' : 'String',
    })),
    variableHashes: {},
    audiences: {},
  };
  return JSON.parse(JSON.stringify(config)) as ConfigBody;
}

const SETTINGS = { edgeDB: { enabled: false }, optIn: { enabled: false }, disablePassthroughRollouts: false };

function featureOf(flag: FlagDefinition): object {
  const everybody = { type: 'all', comparator: '=', values: [] };
  const rules = flag.type === 'boolean' ? [{ id: 'all', clauses: [], weights: fallthroughOf(flag) }] : rulesOf(flag);
  return {
    _id: id(`feature-${flag.key}`),
    key: flag.key,
    type: 'release',
    variations: flag.variations.map(({ key, value }) => ({
      _id: id(`${flag.key}-${key}`),
      key,
      name: key,
      variables: [{ _var: id(`variable-${flag.key}`), value }],
    })),
    configuration: {
      _id: id(`configuration-${flag.key}`),
      forcedUsers: {},
      targets: rules.map((rule) =>
        targetOf(flag, rule, rule.clauses.length === 0 ? [everybody] : rule.clauses.map(filterOf)),
      ),
    },
  };
}

function targetOf(flag: FlagDefinition, rule: PlainRule, filters: readonly object[]): object {
  return {
    _id: id(`target-${flag.key}-${rule.id}`),
    _audience: { _id: id(`audience-${flag.key}-${rule.id}`), filters: { operator: 'and', filters } },
    distribution: rule.weights.map(({ variation, weight }) => ({
      _variation: id(`${flag.key}-${variation}`),
      percentage: weight / 100_000,
    })),
  };
}

const BUILT_IN: ReadonlySet<string> = new Set(['email', 'country', 'appVersion']);

function filterOf({ attribute, op, values }: AttributeClause): object {
  const comparator = op === 'in' ? '=' : op === 'startsWith' ? 'startWith' : '>=';
  if (BUILT_IN.has(attribute)) return { type: 'user', subType: attribute, comparator, values };
  const dataKeyType = op === 'gte' ? 'Number' : 'String';
  return { type: 'user', subType: 'customData', dataKey: attribute, dataKeyType, comparator, values };
}

/** Ids look like those of its database: 24 hexadecimal digits. */
function id(name: string): string {
  return createHash('sha256').update(name).digest('hex').slice(0, 24);
}
