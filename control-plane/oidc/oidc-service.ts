import { PlatformError } from '@guidon/protocol';
import type { Actor } from '../admin-api/actor.js';
import { notFound } from '../admin-api/problems.js';
import type { RecordWrite, Reply, WriteRequest } from '../commit/change.js';
import type { ControlPlaneCore } from '../core.js';
import type { InvitationService } from '../invitations/invitation-service.js';
import { emailKeyOf, findPerson, getPerson } from '../people/person-read-model.js';
import type { PersonPointer, PersonRecord } from '../people/person-record.js';
import type { Cookies } from '../sessions/cookies.js';
import type { SessionDirectory } from '../sessions/session-directory.js';
import type { SessionService } from '../sessions/session-service.js';
import { INSTALLATION, keys } from '../store/keys.js';
import type { OidcClient, ProvedIdentity } from './oidc-client.js';
import { PENDING_LOGIN_SECONDS, type PendingLogin, type PendingLogins } from './pending-login.js';

/** Where the browser is sent once somebody is logged in. */
const HOME = '/login';

/** Row under `keys.identity`: which person a provider's subject is. */
export interface IdentityRecord extends PersonPointer {
  readonly issuer: string;
  readonly subject: string;
}

interface Parts {
  /** Undefined: no provider is configured, and everything here answers 404. */
  readonly client: OidcClient | undefined;
  readonly pending: PendingLogins;
  readonly sessions: SessionService;
  readonly directory: SessionDirectory;
  readonly invitations: InvitationService;
}

/** Logging in through an identity provider. Its subjects are linked to people by (issuer, subject), by an invitation or by who has logged in; never by email. */
export class OidcService {
  readonly #core: ControlPlaneCore;
  readonly #parts: Parts;

  constructor(core: ControlPlaneCore, parts: Parts) {
    this.#core = core;
    this.#parts = parts;
  }

  async begin(
    write: WriteRequest,
    cookies: Cookies,
    what: Pick<PendingLogin, 'invitation' | 'linkTo'>,
  ): Promise<Reply> {
    const { client, pending, invitations } = this.#parts;
    if (client === undefined) throw notFound();
    if (what.invitation !== undefined) invitations.mustFind(what.invitation);
    try {
      const { url, checks } = await client.begin();
      return {
        status: 200,
        body: { authorizationUrl: url.href },
        cookies: [cookies.set('guidon-login', pending.seal({ ...checks, ...what }), PENDING_LOGIN_SECONDS)],
      };
    } catch (error) {
      throw this.#refusal(write, error);
    }
  }

  /** `parameters`: what the provider has sent the browser back with. */
  async finish(write: WriteRequest, cookies: Cookies, parameters: URLSearchParams): Promise<Reply> {
    const { client, pending, sessions } = this.#parts;
    if (client === undefined) throw notFound();
    const login = pending.open(cookies.find('guidon-login'));
    if (login === undefined) throw this.#refusal(write, 'no login was begun by this browser lately');
    let identity: ProvedIdentity;
    try {
      identity = await client.finish(parameters, login);
    } catch (error) {
      throw this.#refusal(write, error);
    }
    const person = await this.#personOf(write, cookies, login, identity);
    const { body: _, ...opened } = await sessions.open(write, person, cookies, `with the provider ${identity.issuer}`);
    return {
      ...opened,
      status: 303,
      body: undefined,
      location: HOME,
      cookies: [...(opened.cookies ?? []), cookies.clear('guidon-login')],
    };
  }

  async #personOf(
    write: WriteRequest,
    cookies: Cookies,
    { invitation, linkTo }: PendingLogin,
    identity: ProvedIdentity,
  ): Promise<PersonRecord> {
    const { store } = this.#core;
    const { invitations } = this.#parts;
    const known = store.find<IdentityRecord>(keys.identity(identity.issuer, identity.subject));
    if (linkTo !== undefined) return this.#link(write, cookies, linkTo, identity, known);
    const person = known === undefined ? undefined : findPerson(store, known.personId);
    if (person?.disabledAt === null) {
      if (invitation !== undefined) await invitations.accept(asPerson(write, person), invitation, person.personId);
      return getPerson(store, person.personId);
    }
    if (person !== undefined || invitation === undefined) throw this.#refusal(write, 'nobody here has this identity');
    const { email, isEmailVerified, name } = identity;
    const invited = invitations.mustFind(invitation).email;
    if (email === undefined || !isEmailVerified || emailKeyOf(email) !== emailKeyOf(invited)) {
      throw this.#refusal(write, 'the provider does not vouch for the email address that was invited');
    }
    const details = { name: (name ?? '').trim().slice(0, 200) || email, passwordHash: null };
    return invitations.acceptAsNew(write, invitation, details, ({ personId }) => [identityWrite(personId, identity)]);
  }

  /** For who is still logged in where the login began. */
  async #link(
    write: WriteRequest,
    cookies: Cookies,
    personId: string,
    identity: ProvedIdentity,
    known: IdentityRecord | undefined,
  ): Promise<PersonRecord> {
    const live = this.#parts.directory.find(cookies.find('guidon'));
    if (live?.person.personId !== personId) throw this.#refusal(write, 'you have logged out meanwhile');
    if (known !== undefined) {
      if (known.personId === personId) return live.person;
      throw new PlatformError('conflict', 'this identity is somebody else’s already');
    }
    await this.#core.committer.commit(asPerson(write, live.person), undefined, () => ({
      owner: INSTALLATION,
      action: 'account.link',
      subject: `people/${personId}/identities`,
      summary: `Linked an identity of ${identity.issuer}`,
      before: undefined,
      after: { issuer: identity.issuer, subject: identity.subject },
      records: [identityWrite(personId, identity)],
      reply: () => ({ status: 204, body: undefined }),
    }));
    return getPerson(this.#core.store, personId);
  }

  /** One answer for everything that can be wrong; what it was is in the log, without any token. */
  #refusal(write: WriteRequest, reason: unknown): PlatformError {
    const { name, code } = reason instanceof Error ? Object.assign({ code: '' }, reason, { name: reason.name }) : {};
    const why = typeof reason === 'string' ? reason : `${name} ${String(code)}`;
    this.#core.logger.info({ requestId: write.requestId, why }, 'a login through the identity provider was refused');
    this.#parts.sessions.recordRefusal(write, undefined, 'the identity provider');
    const detail =
      typeof reason === 'string' ? reason : 'the identity provider’s answer is not valid, or it cannot be reached';
    return new PlatformError('oidc-failed', detail);
  }
}

function identityWrite(personId: string, { issuer, subject }: ProvedIdentity): RecordWrite {
  const value: IdentityRecord = { version: 1, personId, issuer, subject };
  return { key: keys.identity(issuer, subject), read: undefined, value };
}

function asPerson(write: WriteRequest, { personId, name }: PersonRecord): WriteRequest {
  const actor: Actor = { kind: 'person', credentialId: personId, name, personId };
  return { ...write, actor };
}
