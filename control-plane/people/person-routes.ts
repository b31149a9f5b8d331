import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { listPage, listQuerySchema, pageSchema } from '../admin-api/pagination.js';
import { patchBody, readPatch, registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { keys } from '../store/keys.js';
import { getPerson, personSchema, viewPerson } from './person-read-model.js';
import { PersonService, replyOf } from './person-service.js';

const PEOPLE = '/api/v1/people';
const PERSON = `${PEOPLE}/:personId`;
const personParams = z.object({ personId: z.string() });

/** People of the installation; a tenant sees its members alone. */
export function registerPersonRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  const { store } = core;
  const service = new PersonService(core);

  registerRoute(app, {
    method: 'GET',
    url: PEOPLE,
    operationId: 'listPeople',
    tag: 'people',
    summary: 'List everybody who has an account',
    action: 'person.list',
    params: z.object({}),
    query: listQuerySchema,
    isList: true,
    replies: { 200: pageSchema(personSchema) },
    handle: ({ query }) => ({ status: 200, body: listPage(store, keys.people(), query, viewPerson) }),
  });

  registerRoute(app, {
    method: 'GET',
    url: PERSON,
    operationId: 'getPerson',
    tag: 'people',
    summary: 'Read a person',
    action: 'person.read',
    params: personParams,
    replies: { 200: personSchema },
    handle: ({ params }) => replyOf(getPerson(store, params.personId)),
  });

  registerRoute(app, {
    method: 'PATCH',
    url: PERSON,
    operationId: 'updatePerson',
    tag: 'people',
    summary: 'Rename a person, make it an installation admin or disable it; what changes its rights ends its sessions',
    action: 'person.update',
    params: personParams,
    body: patchBody,
    changesExisting: true,
    replies: { 200: personSchema },
    handle: ({ params, body, write }) => service.update(write, params.personId, readPatch({ body, write })),
  });
}
