import { checkContextLimits } from '@guidon/engine';

/**
 * Everything that docs/evaluation.md ("Requests") finds wrong with a decoded body, in plain words of this test; empty: it is answered.
 * Entries are `<status>` or `validation-failed <pointer>`.
 */
export function refusalsOf(body: unknown, { isBatch, revision }: { isBatch: boolean; revision: number }): string[] {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return [invalid('')];
  const members = new Map<string, unknown>(Object.entries(body));
  const allowed = isBatch
    ? ['requests', 'contexts', 'flags', 'minRevision']
    : ['flags', 'context', 'minRevision', 'flag_key', 'flagKey', 'user_id', 'userId'];
  const unknown = [...members.keys()].filter((name) => !allowed.includes(name));
  return [
    ...unknown.map((name) => invalid(`/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`)),
    ...(isBatch ? batchRefusals(members) : evaluateRefusals(members)),
    ...minRevisionRefusals(members, revision),
  ];
}

type Members = ReadonlyMap<string, unknown>;

function invalid(pointer: string): string {
  return `validation-failed ${pointer}`;
}

function flagListRefusals(flags: unknown): string[] {
  if (!Array.isArray(flags)) return [invalid('/flags')];
  return flags.flatMap((flag, index) => (typeof flag === 'string' ? [] : [invalid(`/flags/${index}`)]));
}

function evaluateRefusals(members: Members): string[] {
  const refusals: string[] = [];
  const userIds = ['user_id', 'userId'].filter((name) => members.has(name));
  if (!members.has('context') && userIds.length === 0) refusals.push(invalid('/context'));
  if (members.has('context') && checkContextLimits(members.get('context')) !== undefined)
    refusals.push('limit-exceeded');
  const isUserId = userIds.every((name) => ['string', 'number'].includes(typeof members.get(name)));
  if (userIds.length > 1 || !isUserId) refusals.push(invalid('/user_id'));
  const keys = ['flag_key', 'flagKey'].filter((name) => members.has(name));
  if (keys.length > 0) {
    const isAlone = keys.length === 1 && !members.has('flags');
    if (!isAlone || keys.some((name) => typeof members.get(name) !== 'string')) refusals.push(invalid('/flag_key'));
  } else if (members.has('flags') && typeof members.get('flags') !== 'string') {
    refusals.push(...flagListRefusals(members.get('flags')));
  }
  return refusals;
}

function batchRefusals(members: Members): string[] {
  if (members.has('contexts')) {
    const refusals = members.has('requests') ? [invalid('/requests')] : [];
    if (!members.has('flags')) refusals.push(invalid('/flags'));
    else refusals.push(...flagListRefusals(members.get('flags')));
    if (!Array.isArray(members.get('contexts'))) refusals.push(invalid('/contexts'));
    return refusals;
  }
  const refusals = Array.isArray(members.get('requests')) ? [] : [invalid('/requests')];
  return members.has('flags') ? [...refusals, invalid('/flags')] : refusals;
}

function minRevisionRefusals(members: Members, revision: number): string[] {
  if (!members.has('minRevision')) return [];
  const minRevision = members.get('minRevision');
  if (!Number.isSafeInteger(minRevision) || Number(minRevision) < 0) return [invalid('/minRevision')];
  return Number(minRevision) > revision ? ['revision-behind'] : [];
}
