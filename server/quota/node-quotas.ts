import { readFileSync } from 'node:fs';
import { PlatformError } from '@guidon/protocol';
import {
  CREDENTIAL_QUOTA_MAX,
  type CredentialQuotas,
  parseQuotas,
  TENANT_QUOTA_MAX,
  type TenantQuotas,
} from '@guidon/protocol/signed-config';

/** What one process grants: its own bounds, and what holds for a tenant or credential whose access list does not say. */
export interface NodeQuotas {
  readonly node: {
    /** Open connections of everybody together; one more is closed as soon as it opens. */
    readonly connections: number;
    /** Bytes of answers that their clients have not taken yet, of everybody together and of one tenant. */
    readonly heldBytes: number;
    readonly tenantHeldBytes: number;
  };
  readonly tenant: TenantQuotas;
  readonly credential: CredentialQuotas;
}

const NODE_QUOTA_MAX = { connections: 1_000_000, heldBytes: 2 ** 40, tenantHeldBytes: 2 ** 40 } as const;
const CONNECTIONS = 10_000;
/** Descriptors for everything that is not a connection: store, log, pool, outgoing requests. */
const OTHER_DESCRIPTORS = 512;
const MIB = 1024 * 1024;

/** Rates are not limited unless somebody says so; what can bring the process down is. */
export function defaultNodeQuotas(): NodeQuotas {
  return {
    node: {
      connections: Math.min(CONNECTIONS, Math.max(descriptorsMax() - OTHER_DESCRIPTORS, 64)),
      heldBytes: 256 * MIB,
      tenantHeldBytes: 64 * MIB,
    },
    tenant: {},
    credential: {},
  };
}

/** `text` is JSON: `{"node": {…}, "tenant": {…}, "credential": {…}}`, each optional. Throws `validation-failed` with a pointer per error. */
export function parseNodeQuotas(text: string): NodeQuotas {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new PlatformError('validation-failed', 'quotas must be JSON', { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new PlatformError('validation-failed', 'quotas must be an object with node, tenant and credential');
  }
  const { node = {}, tenant = {}, credential = {}, ...unknown } = Object.fromEntries(Object.entries(value));
  const [stray] = Object.keys(unknown);
  if (stray !== undefined) throw new PlatformError('validation-failed', `quotas: /${stray} is not known`);
  return {
    node: { ...defaultNodeQuotas().node, ...parsePart(node, NODE_QUOTA_MAX, '/node') },
    tenant: parsePart(tenant, TENANT_QUOTA_MAX, '/tenant'),
    credential: parsePart(credential, CREDENTIAL_QUOTA_MAX, '/credential'),
  };
}

/** As parseQuotas, with every issue in the sentence: this is read on a terminal. */
function parsePart<Name extends string>(
  value: unknown,
  max: Readonly<Record<Name, number>>,
  pointer: string,
): Partial<Record<Name, number>> {
  try {
    return parseQuotas(value, max, pointer, false);
  } catch (error) {
    if (!(error instanceof PlatformError)) throw error;
    const issues = error.issues.map((issue) => `${issue.pointer} ${issue.detail}`).join('; ');
    throw new PlatformError('validation-failed', issues === '' ? error.message : `quotas: ${issues}`, { cause: error });
  }
}

/** Accepting beyond it would fail for everybody alike, whoever hoards. Unknown where there is no /proc: then the default holds. */
function descriptorsMax(): number {
  try {
    const line = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'));
    return line === null ? CONNECTIONS + OTHER_DESCRIPTORS : Number(line[1]);
  } catch {
    return CONNECTIONS + OTHER_DESCRIPTORS;
  }
}
