import { type EnvironmentId, parseEnvironmentId, parseTenantId, type TenantId } from './environment-ref.js';

/** Bus subjects: fixed token positions, the tenant token before everything it owns. Built and parsed only here. */
export type SubjectTopic = (typeof SUBJECT_TOPICS)[number];
export const SUBJECT_TOPICS = ['config', 'access'] as const;

const PREFIX = 'guidon.v1';

export function subjectOf(
  topic: SubjectTopic,
  environment: { tenantId: TenantId; environmentId: EnvironmentId },
): string {
  return `${PREFIX}.${topic}.${environment.tenantId}.${environment.environmentId}`;
}

/** Everything of one topic, for one subscription each: nats-server 2.9 hangs on consumers with several filters. */
export function subjectsOfTopic(topic: SubjectTopic): string {
  return `${PREFIX}.${topic}.>`;
}

/** Names one state of one topic, so that the bus knows a message that is published again. */
export function messageIdOf(
  topic: SubjectTopic,
  { environmentId, epoch, to }: { environmentId: EnvironmentId; epoch: number; to: number },
): string {
  const id = `${environmentId}:${epoch}:${to}`;
  // Numbers of access lists are not revisions: both are kept in one stream.
  return topic === 'config' ? id : `${topic}:${id}`;
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

/** Where nodes tell of events. Not of the change bus: another stream, and the other way. */
export const EVENTS_SUBJECTS = `${PREFIX}.events.>`;

export function eventsSubjectOf(environment: { tenantId: TenantId; environmentId: EnvironmentId }): string {
  return `${PREFIX}.events.${environment.tenantId}.${environment.environmentId}`;
}
