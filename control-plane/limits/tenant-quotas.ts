import { type TenantQuotas as DataPlaneQuotas, TENANT_QUOTA_MAX } from '@guidon/protocol/signed-config';

interface ResourceLimit {
  /** What holds while the tenant's quotas do not say otherwise. */
  readonly byDefault: number;
  /** The most that quotas may say. */
  readonly max: number;
  readonly words: string;
}

/** Things that a tenant keeps in the control plane. What is archived counts: it is kept. */
export const RESOURCE_LIMITS = {
  projects: { byDefault: 1_000, max: 100_000, words: 'projects' },
  environments: { byDefault: 5_000, max: 1_000_000, words: 'environments' },
  flags: { byDefault: 100_000, max: 10_000_000, words: 'flags' },
  segmentKeys: { byDefault: 100_000_000, max: 10_000_000_000, words: 'keys in segments' },
  credentials: { byDefault: 50_000, max: 10_000_000, words: 'SDK keys that are not revoked' },
  adminCredentials: { byDefault: 1_000, max: 1_000, words: 'admin credentials that are not revoked' },
  members: { byDefault: 1_000, max: 100_000, words: 'members' },
  invitations: { byDefault: 1_000, max: 100_000, words: 'invitations that are open' },
  roles: { byDefault: 100, max: 1_000, words: 'roles of its own' },
  triggers: { byDefault: 100, max: 1_000, words: 'triggers' },
  webhooks: { byDefault: 50, max: 1_000, words: 'webhooks' },
} as const satisfies Record<string, ResourceLimit>;

export type Resource = keyof typeof RESOURCE_LIMITS;
export const RESOURCES: readonly Resource[] = Object.keys(RESOURCE_LIMITS) as Resource[];

export const ADMIN_REQUESTS_PER_SECOND_MAX = 1_000_000;

/** The one `quotas` object of a tenant: what it may use of each data-plane process (ADR 17), and of the control plane (ADR 26). */
export type TenantQuotas = DataPlaneQuotas & { readonly [Name in Resource]?: number } & {
  /** Absent: no limit. */
  readonly adminRequestsPerSecond?: number;
};

export function allowedOf(quotas: TenantQuotas | undefined, resource: Resource): number {
  return quotas?.[resource] ?? RESOURCE_LIMITS[resource].byDefault;
}

/** What nodes have to know: the members that travel in access lists. */
export function dataPlaneQuotasOf(quotas: TenantQuotas = {}): DataPlaneQuotas {
  return Object.fromEntries(Object.entries(quotas).filter(([name]) => Object.hasOwn(TENANT_QUOTA_MAX, name)));
}
