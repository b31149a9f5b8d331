import type { TenantId } from '@guidon/protocol';
import { z } from 'zod';
import { timestampSchema } from '../admin-api/params.js';
import { notFound } from '../admin-api/problems.js';
import { findPerson } from '../people/person-read-model.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import type { MemberRecord } from './member-record.js';

export const memberSchema = z
  .object({
    personId: z.string(),
    name: z.string(),
    email: z.string(),
    isDisabled: z.boolean().describe('In the whole installation'),
    roles: z.array(z.string()),
    createdAt: timestampSchema,
    version: z.int(),
  })
  .meta({ id: 'Member' });

export function findMember(store: StoreReader, tenantId: TenantId, personId: string): MemberRecord | undefined {
  return store.find<MemberRecord>(keys.member(tenantId, personId));
}

export function getMember(store: StoreReader, tenantId: TenantId, personId: string): MemberRecord {
  const member = findMember(store, tenantId, personId);
  if (member === undefined) throw notFound();
  return member;
}

export function listMembers(store: StoreReader, tenantId: TenantId): MemberRecord[] {
  return store.list<MemberRecord>(keys.members(tenantId)).map(({ value }) => value);
}

/** With what the installation knows of the person. */
export function viewMember(store: StoreReader, member: MemberRecord): z.infer<typeof memberSchema> {
  const { personId, roles, createdAt, version } = member;
  const person = findPerson(store, personId);
  const { name = '', email = '', disabledAt = null } = person ?? {};
  return { personId, name, email, isDisabled: disabledAt !== null, roles: [...roles], createdAt, version };
}
