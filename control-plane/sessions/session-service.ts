import { PlatformError } from '@guidon/protocol';
import { hashSecret } from '@guidon/protocol/signed-config';
import { z } from 'zod';
import { type Actor, ANONYMOUS_ACTOR } from '../admin-api/actor.js';
import { timestampSchema } from '../admin-api/params.js';
import { notFound } from '../admin-api/problems.js';
import type { BoundedRecorder } from '../audit/bounded-recorder.js';
import type { Change, Reply, WriteRequest } from '../commit/change.js';
import type { ControlPlaneCore } from '../core.js';
import { type PasswordHasher, passwordSchema } from '../people/password-hasher.js';
import {
  emailKeyOf,
  emailSchema,
  findPersonByEmail,
  getPerson,
  personSchema,
  viewPerson,
} from '../people/person-read-model.js';
import type { PersonRecord } from '../people/person-record.js';
import { personWrite, withoutSessions } from '../people/person-store.js';
import { INSTALLATION, keys } from '../store/keys.js';
import type { Cookies } from './cookies.js';
import { type LoginLimiter, networkOf } from './login-limiter.js';
import { isOpenSession, listSessions } from './session-directory.js';
import {
  csrfTokenOf,
  encodeSessionToken,
  findSessionToken,
  newSessionToken,
  SESSION_ABSOLUTE_MS,
  SESSION_IDLE_MS,
  SESSIONS_PER_PERSON_MAX,
  type SessionRecord,
  type SessionToken,
  sessionIdOf,
} from './session-record.js';

export const loginBody = z.strictObject({ email: emailSchema, password: passwordSchema });

export const sessionSchema = z
  .object({
    id: z.string(),
    address: z.string().describe('From where it was opened'),
    userAgent: z.string(),
    createdAt: timestampSchema,
    seenAt: timestampSchema.describe('Of a use of it, at most a minute old'),
    endsAt: timestampSchema.describe('If it is not used; it ends 12 h after it began in any case'),
    isCurrent: z.boolean(),
  })
  .meta({ id: 'Session' });

export const ownSessionSchema = z
  .object({
    person: personSchema,
    session: sessionSchema,
    csrfToken: z.string().describe('Send it as X-CSRF-Token with every write'),
  })
  .meta({ id: 'OwnSession' });

export function viewSession(session: SessionRecord, currentId: string | undefined): z.infer<typeof sessionSchema> {
  const { sessionId, address, userAgent, createdAt, seenAt } = session;
  const endsAt = Math.min(createdAt + SESSION_ABSOLUTE_MS, seenAt + SESSION_IDLE_MS);
  return { id: sessionId, address, userAgent, createdAt, seenAt, endsAt, isCurrent: sessionId === currentId };
}

/** Rules of logging in and out. Opening a session always makes a new secret and ends the one that the browser had (fixation). */
export class SessionService {
  readonly #core: ControlPlaneCore;
  readonly #hasher: PasswordHasher;
  readonly #limiter: LoginLimiter;
  readonly #recorder: BoundedRecorder;

  constructor(
    core: ControlPlaneCore,
    { hasher, limiter, recorder }: { hasher: PasswordHasher; limiter: LoginLimiter; recorder: BoundedRecorder },
  ) {
    this.#core = core;
    this.#hasher = hasher;
    this.#limiter = limiter;
    this.#recorder = recorder;
  }

  /** The same answer, after the same work, for an address that nobody has and for a wrong password. */
  async login(write: WriteRequest, body: z.infer<typeof loginBody>, cookies: Cookies): Promise<Reply> {
    const person = findPersonByEmail(this.#core.store, body.email);
    await this.assertPassword(write, emailKeyOf(body.email), person, body.password);
    if (person === undefined) throw new Error('nobody has the password of nobody');
    return this.open(write, person, cookies, 'with a password');
  }

  /** Throws `invalid-credentials`, `rate-limited` or `overloaded`. Refusals are recorded. */
  async assertPassword(
    write: WriteRequest,
    account: string,
    person: PersonRecord | undefined,
    password: string,
  ): Promise<void> {
    const attempt = this.#limiter.begin(account, write.from?.address ?? '');
    let isRight: boolean;
    try {
      isRight = await this.#hasher.verify(person?.passwordHash, password);
    } catch (error) {
      attempt.abandoned();
      throw error;
    }
    if (!isRight || person === undefined || person.disabledAt !== null) {
      this.recordRefusal(write, person?.personId, 'email and password');
      throw new PlatformError('invalid-credentials', 'email or password is not right');
    }
    attempt.succeeded();
  }

  /** What was typed is not recorded: people type passwords where addresses belong. */
  recordRefusal(write: WriteRequest, personId: string | undefined, by: string): void {
    this.#recorder.record(`login ${networkOf(write.from?.address ?? '')}`, INSTALLATION, {
      actor: { kind: 'anonymous', credentialId: ANONYMOUS_ACTOR.credentialId, name: ANONYMOUS_ACTOR.name },
      requestId: write.requestId,
      ...(write.from === undefined ? {} : { from: write.from }),
      action: 'session.refused',
      subject: `people/${personId ?? 'unknown'}`,
      summary: `Refused a login by ${by}`,
    });
  }

  /** Opens a session for somebody who has proved who he is while he was `proved`: a password changed since then opens nothing. */
  open(write: WriteRequest, proved: PersonRecord, cookies: Cookies, how: string): Promise<Reply> {
    const { store, committer, now } = this.#core;
    const token = newSessionToken(proved.personId);
    const actor = actorOf(proved, token);
    return committer.commit({ ...write, actor }, undefined, () => {
      const person = getPerson(store, proved.personId);
      if (person.sessionEpoch !== proved.sessionEpoch || person.disabledAt !== null) {
        throw new PlatformError('invalid-credentials', 'the account has changed meanwhile: log in again');
      }
      const session = newSession(person, token, now(), write);
      return {
        ...this.#openingOf(person, session, cookies),
        summary: `Logged in ${how}`,
        reply: () => replyWithSession(person, session, token, cookies),
      };
    });
  }

  #openingOf(person: PersonRecord, session: SessionRecord, cookies: Cookies): Omit<Change, 'summary' | 'reply'> {
    const { store, now } = this.#core;
    const { personId } = person;
    const rows = listSessions(store, personId);
    const open = rows.filter((other) => isOpenSession(other, person, now())).sort((a, b) => b.createdAt - a.createdAt);
    const kept = new Set(open.slice(0, SESSIONS_PER_PERSON_MAX - 1));
    const replaced = findSessionToken(cookies.find('guidon'));
    return {
      owner: INSTALLATION,
      action: 'session.create',
      subject: `people/${personId}/sessions/${session.sessionId}`,
      before: undefined,
      after: viewSession(session, undefined),
      records: [{ key: keys.session(personId, session.sessionId), read: undefined, value: session }],
      relied: [{ key: keys.person(personId), read: person }],
      rows: [
        ...rows.filter((other) => !kept.has(other)).map((other) => endedRow(other)),
        ...(replaced === undefined ? [] : [endedRow({ ...replaced, sessionId: sessionIdOf(replaced) })]),
      ],
    };
  }

  /** Ends one session of the person. */
  end(write: WriteRequest, personId: string, sessionId: string, cookies?: Cookies): Promise<Reply> {
    const { store, committer } = this.#core;
    return committer.commit(write, undefined, () => {
      const key = keys.session(personId, sessionId);
      const session = store.find<SessionRecord>(key);
      if (session === undefined) throw notFound();
      return {
        owner: INSTALLATION,
        action: 'session.end',
        subject: `people/${personId}/sessions/${sessionId}`,
        summary: 'Ended a session',
        before: viewSession(session, undefined),
        after: undefined,
        records: [],
        rows: [endedRow(session)],
        reply: () => ({ status: 204, body: undefined, ...(cookies && { cookies: [cookies.clear('guidon')] }) }),
      };
    });
  }

  /** Ends every session of the person, the one that asks included. */
  endAll(write: WriteRequest, personId: string, cookies: Cookies): Promise<Reply> {
    const { store, committer } = this.#core;
    return committer.commit(write, undefined, () => {
      const before = getPerson(store, personId);
      return {
        owner: INSTALLATION,
        action: 'session.end',
        subject: `people/${personId}/sessions`,
        summary: 'Ended every session',
        before: undefined,
        after: undefined,
        records: [personWrite(before, withoutSessions(before))],
        rows: listSessions(store, personId).map(endedRow),
        reply: () => ({ status: 204, body: undefined, cookies: [cookies.clear('guidon')] }),
      };
    });
  }

  /** A new password, and a new session for who changed it: every other one has ended. */
  async changePassword(
    write: WriteRequest,
    personId: string,
    { currentPassword, newPassword }: { currentPassword: string; newPassword: string },
    cookies: Cookies,
  ): Promise<Reply> {
    const { store, committer, now } = this.#core;
    const proved = getPerson(store, personId);
    await this.assertPassword(write, emailKeyOf(proved.email), proved, currentPassword);
    const passwordHash = await this.#hasher.hash(newPassword);
    const token = newSessionToken(personId);
    return committer.commit(write, undefined, () => {
      const before = getPerson(store, personId);
      if (before.sessionEpoch !== proved.sessionEpoch) throw new PlatformError('conflict', 'the account has changed');
      const person = { ...withoutSessions(before), passwordHash };
      const session = newSession(person, token, now(), write);
      return {
        owner: INSTALLATION,
        action: 'account.change-password',
        subject: `people/${personId}`,
        summary: 'Changed the password and ended every other session',
        before: viewPerson(before),
        after: viewPerson(person),
        records: [
          personWrite(before, person),
          { key: keys.session(personId, session.sessionId), read: undefined, value: session },
        ],
        rows: listSessions(store, personId).map(endedRow),
        reply: () => replyWithSession(person, session, token, cookies),
      };
    });
  }
}

const endedRow = ({ personId, sessionId }: Pick<SessionRecord, 'personId' | 'sessionId'>) => ({
  key: keys.session(personId, sessionId),
  value: undefined,
});

function newSession(person: PersonRecord, token: SessionToken, now: number, { from }: WriteRequest): SessionRecord {
  return {
    version: 1,
    sessionId: sessionIdOf(token),
    personId: person.personId,
    secretHash: hashSecret(token.secret),
    epoch: person.sessionEpoch,
    createdAt: now,
    seenAt: now,
    address: from?.address ?? '',
    userAgent: from?.userAgent ?? '',
  };
}

function actorOf({ personId, name }: PersonRecord, token: SessionToken): Actor {
  const sessionId = sessionIdOf(token);
  return { kind: 'person', credentialId: sessionId, name, personId, sessionId };
}

function replyWithSession(person: PersonRecord, session: SessionRecord, token: SessionToken, cookies: Cookies): Reply {
  return {
    status: 200,
    body: {
      person: viewPerson(person),
      session: viewSession(session, session.sessionId),
      csrfToken: csrfTokenOf(token.secret),
    },
    cookies: [cookies.set('guidon', encodeSessionToken(token))],
  };
}
