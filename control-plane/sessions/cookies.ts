import type { IncomingHttpHeaders } from 'node:http';
import type { FastifyRequest } from 'fastify';

declare module 'fastify' {
  interface FastifyInstance {
    /** Scheme, host and port that people call, when it is known to be another one than this listens on. */
    publicOrigin: string | undefined;
  }
}

/** `guidon`: the session. `guidon-login`: a login through an identity provider that has not come back yet. */
export type CookieName = 'guidon' | 'guidon-login';

/**
 * The cookies of one request. Over https they are `__Host-…` and Secure, so that no other host and no plain connection can set or see them. Browsers
 * keep no such cookie over http, so on this machine alone (http, and a Host of the loopback) they have neither.
 */
export class Cookies {
  readonly isSecure: boolean;
  /** What a page of ours has as its origin. */
  readonly ownOrigins: readonly string[];
  readonly headers: IncomingHttpHeaders;

  constructor(
    request: Pick<FastifyRequest, 'protocol' | 'host' | 'headers'> & { server: { publicOrigin?: string | undefined } },
  ) {
    const { protocol, host, headers, server } = request;
    const isPublic = server.publicOrigin?.startsWith('https:') === true;
    this.isSecure = protocol === 'https' || isPublic || !isLoopbackHost(host);
    const here = `${this.isSecure ? 'https' : 'http'}://${host.toLowerCase()}`;
    this.ownOrigins = server.publicOrigin === undefined ? [here] : [here, server.publicOrigin];
    this.headers = headers;
  }

  /** Undefined also when it is there twice: one of the two is somebody else's. */
  find(name: CookieName): string | undefined {
    const start = `${this.#nameOf(name)}=`;
    const found = (this.headers.cookie ?? '')
      .split(';')
      .map((part) => part.trim())
      .filter((part) => part.startsWith(start));
    return found.length === 1 ? found[0]?.slice(start.length) : undefined;
  }

  /** Of a Set-Cookie header. Without `maxAgeSeconds` it lasts until the browser closes; the server ends it earlier. */
  set(name: CookieName, value: string, maxAgeSeconds?: number): string {
    const parts = [`${this.#nameOf(name)}=${value}`, 'Path=/', 'HttpOnly', 'SameSite=Lax'];
    if (this.isSecure) parts.push('Secure');
    if (maxAgeSeconds !== undefined) parts.push(`Max-Age=${maxAgeSeconds}`);
    return parts.join('; ');
  }

  clear(name: CookieName): string {
    return this.set(name, '', 0);
  }

  #nameOf(name: CookieName): string {
    return this.isSecure ? `__Host-${name}` : name;
  }
}

function isLoopbackHost(host: string): boolean {
  return /^(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?$/i.test(host);
}
