import type { FastifyInstance } from 'fastify';
import type { BoundedRecorder } from './audit/bounded-recorder.js';
import { registerBreakGlassRoutes } from './break-glass/break-glass-routes.js';
import type { ControlPlaneCore } from './core.js';
import { registerInvitationRoutes } from './invitations/invitation-routes.js';
import { InvitationService } from './invitations/invitation-service.js';
import { OidcClient, type OidcOptions } from './oidc/oidc-client.js';
import { OIDC_CALLBACK, registerOidcRoutes } from './oidc/oidc-routes.js';
import { OidcService } from './oidc/oidc-service.js';
import { PendingLogins } from './oidc/pending-login.js';
import { PasswordHasher } from './people/password-hasher.js';
import { LoginLimiter } from './sessions/login-limiter.js';
import type { SessionDirectory } from './sessions/session-directory.js';
import { registerSessionRoutes } from './sessions/session-routes.js';
import { SessionService } from './sessions/session-service.js';
import { registerSetupRoutes } from './setup/setup-routes.js';
import { SetupService } from './setup/setup-service.js';

/** How people come in: what keeps state for that, made once, and its routes. */
export class Identity {
  readonly setup: SetupService;
  readonly #core: ControlPlaneCore;
  readonly #hasher = new PasswordHasher();
  readonly #sessions: SessionService;
  readonly #invitations: InvitationService;
  readonly #oidc: OidcService;

  constructor(
    core: ControlPlaneCore,
    options: {
      readonly directory: SessionDirectory;
      readonly recorder: BoundedRecorder;
      readonly monotonicNow: () => number;
      readonly oidc: OidcOptions | undefined;
      /** Asked when somebody logs in: the port may not be known before. */
      readonly publicUrl: () => string;
    },
  ) {
    const { directory, recorder, monotonicNow, oidc, publicUrl } = options;
    const hasher = this.#hasher;
    const sessions = new SessionService(core, { hasher, recorder, limiter: new LoginLimiter(monotonicNow) });
    const invitations = new InvitationService(core);
    this.#core = core;
    this.#sessions = sessions;
    this.#invitations = invitations;
    this.setup = new SetupService(core, hasher);
    this.#oidc = new OidcService(core, {
      client: oidc && new OidcClient(oidc, () => `${publicUrl()}${OIDC_CALLBACK}`),
      pending: new PendingLogins(monotonicNow),
      sessions,
      directory,
      invitations,
    });
  }

  register(routes: FastifyInstance): void {
    registerSetupRoutes(routes, this.setup);
    registerBreakGlassRoutes(routes, this.#core);
    registerSessionRoutes(routes, this.#core, this.#sessions);
    registerInvitationRoutes(routes, this.#core, {
      sessions: this.#sessions,
      hasher: this.#hasher,
      invitations: this.#invitations,
    });
    registerOidcRoutes(routes, this.#oidc);
  }
}
