import { PlatformError } from '@guidon/protocol';
import {
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  type Configuration,
  calculatePKCECodeChallenge,
  discovery,
  enableNonRepudiationChecks,
  fetchUserInfo,
  randomNonce,
  randomPKCECodeVerifier,
  randomState,
} from 'openid-client';

/** The identity provider of an installation. */
export interface OidcOptions {
  /** `https://…`; `http://` on the loopback alone. */
  readonly issuer: string;
  readonly clientId: string;
  /** Never shown, logged or stored. */
  readonly clientSecret: string;
}

/** What one login must come back with: unguessable, and known to the browser that began it alone. */
export interface LoginChecks {
  readonly state: string;
  readonly nonce: string;
  readonly codeVerifier: string;
}

/** Whom the provider has told us of. People are known by issuer and subject; the rest may change and may be wrong. */
export interface ProvedIdentity {
  readonly issuer: string;
  readonly subject: string;
  readonly email: string | undefined;
  readonly isEmailVerified: boolean;
  readonly name: string | undefined;
}

const REQUEST_SECONDS_MAX = 10;
/** The provider's description of itself is read anew after this. */
const CONFIGURATION_MS_MAX = 3_600_000;

/** Refuses what cannot be right before anybody tries to log in. */
export function assertOidcOptions({ issuer, clientId, clientSecret }: OidcOptions): void {
  const url = URL.canParse(issuer) ? new URL(issuer) : undefined;
  const isSafe = url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback(url.hostname));
  if (url === undefined || !isSafe || url.search !== '' || url.hash !== '' || url.username !== '') {
    throw new PlatformError('validation-failed', 'the OIDC issuer must be an https URL without query or credentials');
  }
  if (clientId === '' || clientSecret === '') {
    throw new PlatformError('validation-failed', 'OIDC needs a client id and a client secret');
  }
}

/**
 * The authorization code flow with PKCE, state and nonce. The library checks state, `iss` of the answer (mix-up) and of the token, `aud`, times
 * and nonce; the signature is checked against the provider's keys too, although TLS would vouch for it, and only with the algorithm that is agreed.
 */
export class OidcClient {
  readonly #options: OidcOptions;
  readonly #redirectUrl: () => string;
  #configuration: { readonly madeAt: number; readonly promise: Promise<Configuration> } | undefined;

  constructor(options: OidcOptions, redirectUrl: () => string) {
    assertOidcOptions(options);
    this.#options = options;
    this.#redirectUrl = redirectUrl;
  }

  /** Where to send the browser, and what to remember until it is back. */
  async begin(): Promise<{ readonly url: URL; readonly checks: LoginChecks }> {
    const checks = { state: randomState(), nonce: randomNonce(), codeVerifier: randomPKCECodeVerifier() };
    const url = buildAuthorizationUrl(await this.#configure(), {
      redirect_uri: this.#redirectUrl(),
      scope: 'openid email profile',
      state: checks.state,
      nonce: checks.nonce,
      code_challenge: await calculatePKCECodeChallenge(checks.codeVerifier),
      code_challenge_method: 'S256',
    });
    return { url, checks };
  }

  /** `parameters`: of the URL that the browser came back to. Throws whatever the library finds wrong with it or with the token. */
  async finish(parameters: URLSearchParams, checks: LoginChecks): Promise<ProvedIdentity> {
    const configuration = await this.#configure();
    const url = new URL(this.#redirectUrl());
    url.search = parameters.toString();
    const tokens = await authorizationCodeGrant(configuration, url, {
      expectedState: checks.state,
      expectedNonce: checks.nonce,
      pkceCodeVerifier: checks.codeVerifier,
      idTokenExpected: true,
    });
    const claims = tokens.claims();
    if (claims === undefined) throw new Error('the provider sent no ID token');
    const { iss, sub } = claims;
    const mayAsk = claims.email === undefined && configuration.serverMetadata().userinfo_endpoint !== undefined;
    const details = mayAsk ? await fetchUserInfo(configuration, tokens.access_token, sub) : claims;
    return {
      issuer: iss,
      subject: sub,
      email: typeof details.email === 'string' ? details.email : undefined,
      isEmailVerified: details.email_verified === true,
      name: typeof details.name === 'string' ? details.name : undefined,
    };
  }

  #configure(): Promise<Configuration> {
    const now = performance.now();
    if (this.#configuration === undefined || now - this.#configuration.madeAt > CONFIGURATION_MS_MAX) {
      const promise = this.#discover();
      const made = { madeAt: now, promise };
      this.#configuration = made;
      // A provider that was away is asked again by the next login.
      promise.catch(() => {
        if (this.#configuration === made) this.#configuration = undefined;
      });
    }
    return this.#configuration.promise;
  }

  #discover(): Promise<Configuration> {
    const { issuer, clientId, clientSecret } = this.#options;
    const url = new URL(issuer);
    const isPlain = url.protocol === 'http:' && isLoopback(url.hostname);
    return discovery(url, clientId, { client_secret: clientSecret, id_token_signed_response_alg: 'RS256' }, undefined, {
      timeout: REQUEST_SECONDS_MAX,
      execute: [enableNonRepudiationChecks, ...(isPlain ? [allowInsecureRequests] : [])],
    });
  }
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
}
