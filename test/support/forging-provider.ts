import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What an ID token is made of, for a test to spoil. */
export interface TokenParts {
  header: Record<string, unknown>;
  claims: Record<string, unknown>;
  /** Signs `<header>.<claims>`. */
  sign: (input: string) => Buffer;
}

const base64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
export const hmacWith =
  (key: string | Buffer) =>
  (input: string): Buffer =>
    createHmac('sha256', key).update(input).digest();
export const rsaWith =
  (key: KeyObject) =>
  (input: string): Buffer =>
    sign('sha256', Buffer.from(input), key);

/**
 * Speaks just enough of OpenID Connect to hand out tokens that no honest provider would: what somebody sends who sits where the token endpoint is
 * asked, or a provider that has been taken over. It says what a real one says about itself.
 */
export class ForgingProvider {
  readonly issuer: string;
  readonly key = generateKeyPairSync('rsa', { modulusLength: 2048 });
  readonly #server: Server;
  /** Spoils the token of the next login. */
  forge: (parts: TokenParts) => void = () => {};
  nonce = '';

  static async start(clientId: string): Promise<ForgingProvider> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new ForgingProvider(server, clientId);
  }

  private constructor(server: Server, clientId: string) {
    this.#server = server;
    this.issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('request', (request, response) => {
      request.resume();
      const answer = this.#answer(request.url ?? '', clientId);
      response.writeHead(answer === undefined ? 404 : 200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(answer ?? {}));
    });
  }

  #answer(path: string, clientId: string): object | undefined {
    if (path === '/.well-known/openid-configuration') {
      return {
        issuer: this.issuer,
        authorization_endpoint: `${this.issuer}/auth`,
        token_endpoint: `${this.issuer}/token`,
        jwks_uri: `${this.issuer}/jwks`,
        response_types_supported: ['code'],
        subject_types_supported: ['public'],
        id_token_signing_alg_values_supported: ['RS256', 'HS256', 'none'],
        authorization_response_iss_parameter_supported: true,
        code_challenge_methods_supported: ['S256'],
      };
    }
    if (path === '/jwks')
      return { keys: [{ ...this.key.publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'RS256' }] };
    if (path === '/token') return { access_token: 'a', token_type: 'Bearer', id_token: this.#token(clientId) };
    return undefined;
  }

  #token(clientId: string): string {
    const now = Math.floor(Date.now() / 1_000);
    const claims = { iss: this.issuer, aud: clientId, sub: 'mallory', iat: now, exp: now + 300, nonce: this.nonce };
    const details = { email: 'invited@example.com', email_verified: true, name: 'Mallory' };
    const parts: TokenParts = {
      header: { alg: 'RS256', kid: 'k' },
      claims: { ...claims, ...details },
      sign: rsaWith(this.key.privateKey),
    };
    this.forge(parts);
    const input = `${base64(parts.header)}.${base64(parts.claims)}`;
    return `${input}.${parts.sign(input).toString('base64url')}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
