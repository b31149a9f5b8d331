import statsig from 'statsig-node';
import type { AttributeClause, CreatePeer, FlagDefinition } from '../side-by-side/peer.js';
import { at, fallthroughOf, forOperator, type PlainRule, rulesOf } from './plain-rules.js';

const OPERATORS = {
  in: 'any_case_sensitive',
  gte: 'gte',
  semverGte: 'version_gte',
  startsWith: 'str_starts_with_any',
} as const;

/**
 * Local mode, specs from `bootstrapValues`; exposure logging is off by the method called. A rule passes a share of those who match and
 * gives the others the default, so `control` is the default of W2 and W3.
 */
export const createPeer: CreatePeer = async ({ flags, contexts }) => {
  const isBoolean = at(flags, 0).type === 'boolean';
  const specs = {
    has_updates: true,
    time: 1,
    feature_gates: isBoolean ? flags.map(gateOf) : [],
    dynamic_configs: isBoolean ? [] : flags.map(configOf),
    layer_configs: [],
    id_lists: {},
    layers: {},
  };
  const options = {
    localMode: true,
    bootstrapValues: JSON.stringify(specs),
    disableDiagnostics: true,
    disableAllLogging: true,
  };
  await statsig.default.initialize('secret-bench', { ...options, disableRulesetsSync: true, disableIdListsSync: true });
  const own = contexts.map(({ targetingKey, email, country, appVersion, ...custom }) => ({
    userID: targetingKey,
    email,
    country,
    appVersion,
    custom,
  }));
  return {
    ask: (flagKey, index) => {
      const user = at(own, index);
      if (isBoolean) return statsig.default.checkGateWithExposureLoggingDisabledSync(user, flagKey) ? 'on' : 'off';
      return statsig.default.getConfigWithExposureLoggingDisabledSync(user, flagKey).get('variation', 'default');
    },
    close: () => statsig.default.shutdown(),
  };
};

function gateOf(flag: FlagDefinition): object {
  const share = at(fallthroughOf(flag), 0).weight / 1_000;
  const everybody = {
    type: 'public',
    targetValue: null,
    operator: null,
    field: null,
    additionalValues: {},
    idType: 'userID',
  };
  const rule = {
    name: 'all',
    id: 'all',
    salt: '',
    passPercentage: share,
    conditions: [everybody],
    returnValue: true,
    idType: 'userID',
  };
  return { ...common(flag), type: 'feature_gate', entity: 'feature_gate', defaultValue: false, rules: [rule] };
}

function configOf(flag: FlagDefinition): object {
  const rules = rulesOf(flag).map((rule) => ruleOf(rule));
  const defaultValue = { variation: 'control' };
  return { ...common(flag), type: 'dynamic_config', entity: 'dynamic_config', defaultValue, rules };
}

function common({ key, salt }: FlagDefinition): object {
  return { name: key, salt, enabled: true, idType: 'userID', explicitParameters: [], hasSharedParams: false };
}

function ruleOf({ id, clauses, weights }: PlainRule): object {
  const { variation, weight } = at(weights, 0);
  return {
    name: id,
    id,
    salt: id,
    passPercentage: weight / 1_000,
    conditions: clauses.map(conditionOf),
    returnValue: { variation },
    idType: 'userID',
  };
}

function conditionOf({ attribute, op, values }: AttributeClause): object {
  const isList = op === 'in' || op === 'startsWith';
  return {
    type: 'user_field',
    field: attribute,
    operator: forOperator(op, OPERATORS),
    targetValue: isList ? values : values[0],
    additionalValues: {},
    idType: 'userID',
  };
}
