import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { assertLoggedIn } from '../admin-api/actor.js';
import { pageSchema } from '../admin-api/pagination.js';
import { registerRoute } from '../admin-api/register-route.js';
import { registerStaticFile } from '../admin-api/static-file.js';
import type { ControlPlaneCore } from '../core.js';
import { newPasswordSchema, passwordSchema } from '../people/password-hasher.js';
import { getPerson, viewPerson } from '../people/person-read-model.js';
import { assertNotFromElsewhere } from './csrf.js';
import { LOGIN_HTML, LOGIN_SCRIPT } from './login-page.js';
import { isOpenSession, listSessions } from './session-directory.js';
import { csrfTokenOf, findSessionToken } from './session-record.js';
import { loginBody, ownSessionSchema, type SessionService, sessionSchema, viewSession } from './session-service.js';

const NOTHING = z.object({});

export function registerSessionRoutes(app: FastifyInstance, core: ControlPlaneCore, service: SessionService): void {
  registerRoute(app, {
    method: 'POST',
    url: '/api/v1/login',
    operationId: 'login',
    tag: 'account',
    summary: 'Log in with email and password',
    description:
      'Sets the session cookie, `__Host-guidon` (`guidon` over http on the machine itself). Ends after 30 minutes without use and after 12 hours in any case. ' +
      'The same 401 for an address that nobody has and for a wrong password.',
    publicBecause: 'it is how one becomes somebody',
    params: NOTHING,
    body: loginBody,
    isRateLimited: true,
    replies: { 200: ownSessionSchema },
    handle: ({ body, write, cookies }) => {
      assertNotFromElsewhere(cookies);
      return service.login(write, body, cookies);
    },
  });

  registerRoute(app, {
    method: 'POST',
    url: '/api/v1/logout',
    operationId: 'logout',
    tag: 'account',
    summary: 'End the session that this is sent with',
    action: 'session.end',
    params: NOTHING,
    replies: { 204: null },
    handle: ({ actor, write, cookies }) => {
      const { personId, sessionId } = assertLoggedIn(actor);
      return service.end(write, personId, sessionId, cookies);
    },
  });

  registerAccountRoutes(app, core, service);
  const publicBecause = 'the page itself holds nothing';
  registerStaticFile(app, {
    url: '/login',
    contentType: 'text/html; charset=utf-8',
    content: LOGIN_HTML,
    publicBecause,
  });
  registerStaticFile(app, {
    url: '/login.js',
    contentType: 'text/javascript; charset=utf-8',
    content: LOGIN_SCRIPT,
    publicBecause,
  });
}

function registerAccountRoutes(app: FastifyInstance, { store, now }: ControlPlaneCore, service: SessionService): void {
  registerRoute(app, {
    method: 'GET',
    url: '/api/v1/me',
    operationId: 'getOwnSession',
    tag: 'account',
    summary: 'Who I am, and the CSRF token of this session',
    action: 'account.read',
    params: NOTHING,
    replies: { 200: ownSessionSchema },
    handle: ({ actor, cookies }) => {
      const { personId, sessionId } = assertLoggedIn(actor);
      const session = listSessions(store, personId).find((candidate) => candidate.sessionId === sessionId);
      const token = findSessionToken(cookies.find('guidon'));
      if (session === undefined || token === undefined) throw new Error('the session of this request is gone');
      const person = viewPerson(getPerson(store, personId));
      const body = { person, session: viewSession(session, sessionId), csrfToken: csrfTokenOf(token.secret) };
      return { status: 200, body };
    },
  });

  registerRoute(app, {
    method: 'GET',
    url: '/api/v1/me/sessions',
    operationId: 'listOwnSessions',
    tag: 'account',
    summary: 'List my open sessions; there are at most 20, all on one page',
    action: 'session.list',
    params: NOTHING,
    replies: { 200: pageSchema(sessionSchema) },
    handle: ({ actor }) => {
      const { personId, sessionId } = assertLoggedIn(actor);
      const person = getPerson(store, personId);
      const items = listSessions(store, personId)
        .filter((session) => isOpenSession(session, person, now()))
        .map((session) => viewSession(session, sessionId));
      return { status: 200, body: { items, nextCursor: null } };
    },
  });

  registerRoute(app, {
    method: 'DELETE',
    url: '/api/v1/me/sessions/:sessionId',
    operationId: 'endOwnSession',
    tag: 'account',
    summary: 'End one of my sessions',
    action: 'session.end',
    params: z.object({ sessionId: z.string() }),
    replies: { 204: null },
    handle: ({ actor, params, write }) => service.end(write, assertLoggedIn(actor).personId, params.sessionId),
  });

  registerRoute(app, {
    method: 'DELETE',
    url: '/api/v1/me/sessions',
    operationId: 'endOwnSessions',
    tag: 'account',
    summary: 'End all of my sessions, this one too',
    action: 'session.end',
    params: NOTHING,
    replies: { 204: null },
    handle: ({ actor, write, cookies }) => service.endAll(write, assertLoggedIn(actor).personId, cookies),
  });

  registerRoute(app, {
    method: 'POST',
    url: '/api/v1/me/password',
    operationId: 'changeOwnPassword',
    tag: 'account',
    summary: 'Change my password; every session ends, and this browser gets a new one',
    action: 'account.change-password',
    params: NOTHING,
    body: z.strictObject({ currentPassword: passwordSchema, newPassword: newPasswordSchema }),
    isRateLimited: true,
    replies: { 200: ownSessionSchema },
    handle: ({ actor, body, write, cookies }) =>
      service.changePassword(write, assertLoggedIn(actor).personId, body, cookies),
  });
}
