import { type Issue, PlatformError } from '../platform-error.js';

/**
 * What a credential, or a tenant, may use of one data-plane process. Each member is a whole number from 1 to the figure here; an absent one
 * leaves it to the node's own default. `connections` counts those with a request in progress: see docs/adr/0017.
 */
export const CREDENTIAL_QUOTA_MAX = {
  requestsPerSecond: 1_000_000_000,
  evaluationsPerSecond: 1_000_000_000,
  connections: 1_000_000,
} as const;

/** A tenant has two more: bytes of resident snapshots, and requests that run or wait in the pool. */
export const TENANT_QUOTA_MAX = {
  ...CREDENTIAL_QUOTA_MAX,
  snapshotBytes: 2 ** 40,
  poolSlots: 1_000_000,
} as const;

export type CredentialQuotas = { readonly [Name in keyof typeof CREDENTIAL_QUOTA_MAX]?: number };
export type TenantQuotas = { readonly [Name in keyof typeof TENANT_QUOTA_MAX]?: number };

/** Of a signed document: members it does not know are a newer build's and left out. Throws `validation-failed`. */
export function parseCredentialQuotas(value: unknown): CredentialQuotas {
  return parseQuotas(value, CREDENTIAL_QUOTA_MAX, '/quotas', true);
}

export function parseTenantQuotas(value: unknown): TenantQuotas {
  return parseQuotas(value, TENANT_QUOTA_MAX, '/quotas', true);
}

/** `isTolerant`: unknown members are left out instead of refused. */
export function parseQuotas<Name extends string>(
  value: unknown,
  maxima: Readonly<Record<Name, number>>,
  pointer: string,
  isTolerant: boolean,
): { readonly [Member in Name]?: number } {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(pointer, 'must be an object');
  const issues: Issue[] = [];
  const add = (name: string, detail: string): void => {
    issues.push({ pointer: `${pointer}/${name}`, code: 'validation-failed', detail });
  };
  const quotas: { [Member in Name]?: number } = {};
  const members = new Map<string, unknown>(Object.entries(value));
  for (const name of namesOf(maxima)) {
    const quota = members.get(name);
    members.delete(name);
    if (quota === undefined) continue;
    if (typeof quota === 'number' && Number.isInteger(quota) && quota >= 1 && quota <= maxima[name])
      quotas[name] = quota;
    else add(name, `must be a whole number from 1 to ${maxima[name]}`);
  }
  if (!isTolerant)
    for (const name of members.keys()) add(name.replaceAll('~', '~0').replaceAll('/', '~1'), 'is not known');
  if (issues.length > 0) throw new PlatformError('validation-failed', `${pointer} is not a set of quotas`, { issues });
  return quotas;
}

function namesOf<Name extends string>(maxima: Readonly<Record<Name, number>>): Name[] {
  // The keys of a record literal are exactly its names.
  return Object.keys(maxima) as Name[];
}

function refuse(pointer: string, detail: string): never {
  const issues: Issue[] = [{ pointer, code: 'validation-failed', detail }];
  throw new PlatformError('validation-failed', `${pointer} ${detail}`, { issues });
}
