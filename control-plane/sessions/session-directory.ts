import { hashSecret, isSecretOf } from '@guidon/protocol/signed-config';
import type { Logger } from 'pino';
import { findPerson } from '../people/person-read-model.js';
import type { PersonRecord } from '../people/person-record.js';
import type { ControlStore, StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import {
  findSessionToken,
  SEEN_STEP_MS,
  SESSION_ABSOLUTE_MS,
  SESSION_IDLE_MS,
  type SessionRecord,
  sessionIdOf,
} from './session-record.js';

const DUMMY_HASH = hashSecret('no session has this secret');
const DEADLINES_MAX = 10_000;
/** How far the wall clock may be set back before sessions that have seen a later time end. */
const CLOCK_BACK_MS_MAX = 5 * 60_000;

export interface LiveSession {
  readonly session: SessionRecord;
  readonly person: PersonRecord;
  readonly secret: string;
}

/** When a session ends by the clock of this process. */
interface Deadlines {
  readonly absolute: number;
  idle: number;
}

/**
 * Which sessions are open. A session ends by the wall clock, which a restart keeps, and by the monotonic one, which nobody can set back (I27):
 * whichever says so first. An ended one leaves its row until its person logs in again.
 */
export class SessionDirectory {
  readonly #store: ControlStore;
  readonly #logger: Logger;
  readonly #now: () => number;
  readonly #monotonicNow: () => number;
  /** By session id; made when a session is first seen in this process. Beyond DEADLINES_MAX the one seen first is forgotten: the wall clock still holds it. */
  readonly #deadlines = new Map<string, Deadlines>();

  constructor(options: { store: ControlStore; logger: Logger; now: () => number; monotonicNow: () => number }) {
    this.#store = options.store;
    this.#logger = options.logger;
    this.#now = options.now;
    this.#monotonicNow = options.monotonicNow;
  }

  /** The open session that a cookie names; undefined for every reason alike. Counts as use of it. */
  find(cookie: string | undefined): LiveSession | undefined {
    const token = findSessionToken(cookie);
    if (token === undefined) return undefined;
    const { personId, secret } = token;
    const session = this.#store.find<SessionRecord>(keys.session(personId, sessionIdOf(token)));
    const isRight = isSecretOf(secret, session?.secretHash ?? DUMMY_HASH);
    const person = findPerson(this.#store, personId);
    if (!isRight || session === undefined || person === undefined) return undefined;
    if (!isOpenSession(session, person, this.#now()) || !this.#isWithinDeadlines(session)) return undefined;
    this.#see(session);
    return { session, person, secret };
  }

  #isWithinDeadlines({ sessionId, createdAt, seenAt }: SessionRecord): boolean {
    const now = this.#now();
    const tick = this.#monotonicNow();
    const known = this.#deadlines.get(sessionId);
    if (known !== undefined && (tick >= known.absolute || tick >= known.idle)) return false;
    const absolute = known?.absolute ?? tick + Math.min(SESSION_ABSOLUTE_MS, createdAt + SESSION_ABSOLUTE_MS - now);
    if (known === undefined) {
      if (this.#deadlines.size >= DEADLINES_MAX) {
        const [oldest] = this.#deadlines.keys();
        if (oldest !== undefined) this.#deadlines.delete(oldest);
      }
      const idle = tick + Math.min(SESSION_IDLE_MS, seenAt + SESSION_IDLE_MS - now);
      if (tick >= idle) return false;
    }
    this.#deadlines.set(sessionId, { absolute, idle: tick + SESSION_IDLE_MS });
    return true;
  }

  /** Not awaited and no change of anything: losing it ends the session a minute early. */
  #see({ personId, sessionId, seenAt }: SessionRecord): void {
    const now = this.#now();
    if (now - seenAt < SEEN_STEP_MS || this.#store.failure !== undefined) return;
    const key = keys.session(personId, sessionId);
    this.#store
      .transaction((transaction) => {
        const session = transaction.find<SessionRecord>(key);
        if (session === undefined || now - session.seenAt < SEEN_STEP_MS) return;
        transaction.put(key, { ...session, seenAt: now, version: session.version + 1 } satisfies SessionRecord);
      })
      .catch((error: unknown) => this.#logger.warn({ err: error, sessionId }, 'the use of a session was not noted'));
  }
}

/** By what the store knows. */
export function isOpenSession({ epoch, createdAt, seenAt }: SessionRecord, person: PersonRecord, now: number): boolean {
  return (
    person.disabledAt === null &&
    epoch === person.sessionEpoch &&
    now < createdAt + SESSION_ABSOLUTE_MS &&
    now < seenAt + SESSION_IDLE_MS &&
    now > seenAt - CLOCK_BACK_MS_MAX
  );
}

/** All rows of a person's sessions, those that have ended included. */
export function listSessions(store: StoreReader, personId: string): SessionRecord[] {
  return store.list<SessionRecord>(keys.sessions(personId)).map(({ value }) => value);
}
