import { type EnvironmentId, parseEnvironmentId, parseTenantId, type TenantId } from './environment-ref.js';

/** Bus subjects: fixed token positions, the tenant token before everything it owns. Built and parsed only here. */
export type SubjectTopic = 'config' | 'access';

const PREFIX = 'guidon.v1';

export function subjectOf(
  topic: SubjectTopic,
  environment: { tenantId: TenantId; environmentId: EnvironmentId },
): string {
  return `${PREFIX}.${topic}.${environment.tenantId}.${environment.environmentId}`;
}

/** Undefined when the subject is not one of ours; the subscriber still checks the signed ids inside the message. */
export function findSubject(
  subject: string,
): { topic: SubjectTopic; tenantId: TenantId; environmentId: EnvironmentId } | undefined {
  const [guidon, version, topic, tenantId, environmentId, ...rest] = subject.split('.');
  if (`${guidon}.${version}` !== PREFIX || rest.length > 0) return undefined;
  if (topic !== 'config' && topic !== 'access') return undefined;
  try {
    return { topic, tenantId: parseTenantId(tenantId), environmentId: parseEnvironmentId(environmentId) };
  } catch {
    return undefined;
  }
}
