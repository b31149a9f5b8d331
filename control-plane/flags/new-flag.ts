import type { Issue } from '@guidon/protocol';
import { ulid } from 'ulid';
import { checkTargeting, checkValues, type FlagCreate, refusal } from './flag-input.js';
import type { FlagPlace } from './flag-place.js';
import { defaultTargeting, type FlagRecord, generateSalt, type TargetingRecord } from './flag-record.js';

/** `version` goes on where a deleted flag of this key ended. */
export function newFlag(body: FlagCreate, version: number, now: number): FlagRecord {
  const { name = body.key, description = '', tags = [], lifetime = 'temporary', clientSide = false } = body;
  return {
    version,
    id: `flg_${ulid()}`,
    key: body.key,
    type: body.type,
    name,
    description,
    tags,
    lifetime,
    clientSide,
    ...checkValues(body.type, body),
    archivedAt: null,
    createdAt: now,
    updatedAt: now,
  };
}

/** By environment key; every environment of the project gets one. */
export function initialTargetings(
  { environments }: FlagPlace,
  flag: FlagRecord,
  body: FlagCreate,
): Map<string, TargetingRecord> {
  const given = new Map(Object.entries(body.initialTargeting ?? {}));
  const issues: Issue[] = [...given.keys()]
    .filter((key) => environments.every((environment) => environment.key !== key))
    .map((key) => ({
      pointer: `/initialTargeting/${key}`,
      code: 'dangling-reference',
      detail: `there is no environment ${key}`,
    }));
  const records = environments.map(({ key }): [string, TargetingRecord] => [
    key,
    newTargeting(flag, { ...defaultTargeting(flag.variations), ...given.get(key) }, `/initialTargeting/${key}`),
  ]);
  if (issues.length > 0) throw refusal(issues);
  return new Map(records);
}

export function newTargeting(flag: FlagRecord, targeting: unknown, pointer: string): TargetingRecord {
  return {
    version: flag.version,
    flagId: flag.id,
    targeting: checkTargeting(targeting, flag, pointer),
    salt: generateSalt(),
    updatedAt: flag.updatedAt,
  };
}

export function mustTargeting(
  targetings: ReadonlyMap<string, TargetingRecord>,
  environmentKey: string,
): TargetingRecord {
  const record = targetings.get(environmentKey);
  if (record === undefined) throw new Error('a targeting was made for every environment');
  return record;
}
