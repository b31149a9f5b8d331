import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { listPage, listQuerySchema, pageSchema } from '../admin-api/pagination.js';
import { tenantParams } from '../admin-api/params.js';
import { patchBody, readPatch, registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { keys } from '../store/keys.js';
import { getTenant } from '../tenants/tenant-read-model.js';
import { getMember, memberSchema, viewMember } from './member-read-model.js';
import type { MemberRecord } from './member-record.js';
import { MemberService } from './member-service.js';

const MEMBERS = '/api/v1/tenants/:tenantId/members';
const MEMBER = `${MEMBERS}/:personId`;
const memberParams = tenantParams.extend({ personId: z.string() });

export function registerMemberRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  const { store } = core;
  const service = new MemberService(core);

  registerRoute(app, {
    method: 'GET',
    url: MEMBERS,
    operationId: 'listMembers',
    tag: 'members',
    summary: 'List the people who belong to a tenant',
    action: 'member.list',
    params: tenantParams,
    query: listQuerySchema,
    isList: true,
    replies: { 200: pageSchema(memberSchema) },
    handle: ({ params: { tenantId }, query }) => {
      getTenant(store, tenantId);
      const view = (member: MemberRecord) => viewMember(store, member);
      return { status: 200, body: listPage(store, keys.members(tenantId), query, view) };
    },
  });

  registerRoute(app, {
    method: 'GET',
    url: MEMBER,
    operationId: 'getMember',
    tag: 'members',
    summary: 'Read a member',
    action: 'member.read',
    params: memberParams,
    replies: { 200: memberSchema },
    handle: ({ params: { tenantId, personId } }) => {
      getTenant(store, tenantId);
      return service.replyOf(getMember(store, tenantId, personId));
    },
  });

  registerRoute(app, {
    method: 'PATCH',
    url: MEMBER,
    operationId: 'updateMember',
    tag: 'members',
    summary: 'Change the roles of a member; it has to log in again',
    action: 'member.update',
    params: memberParams,
    body: patchBody,
    changesExisting: true,
    replies: { 200: memberSchema },
    handle: ({ params, body, write }) =>
      service.update(write, params.tenantId, params.personId, readPatch({ body, write })),
  });

  registerRoute(app, {
    method: 'DELETE',
    url: MEMBER,
    operationId: 'removeMember',
    tag: 'members',
    summary: 'Remove somebody from a tenant, and revoke the tokens it has made there',
    action: 'member.remove',
    params: memberParams,
    changesExisting: true,
    replies: { 204: null },
    handle: ({ params, write }) => service.remove(write, params.tenantId, params.personId),
  });
}
