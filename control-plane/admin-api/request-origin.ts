import { isIP } from 'node:net';
import type { FastifyRequest } from 'fastify';
import { type RequestOrigin, USER_AGENT_CHARS_MAX } from '../audit/audit-entry.js';

/** Where a request came from, as its audit entry says it. */
export function originOf(request: FastifyRequest): RequestOrigin {
  const userAgent = (request.headers['user-agent'] ?? '').slice(0, USER_AGENT_CHARS_MAX);
  return { address: clientAddressOf(request), userAgent };
}

/** Some proxies write the port of the client behind its address; whoever reads the header would take that for no address at all. */
export function withoutPorts(forwardedFor: string): string {
  return forwardedFor
    .split(',')
    .map((entry) => entry.trim().replace(ADDRESS_WITH_PORT, '$1$2'))
    .join(', ');
}

/** `1.2.3.4:5`, `[::1]:5` and `[::1]`: an IPv6 address without brackets has no port behind it. */
const ADDRESS_WITH_PORT = /^(?:(\d+\.\d+\.\d+\.\d+):\d{1,5}|\[([\da-f:.]+)\](?::\d{1,5})?)$/i;

/**
 * What a trusted proxy says, else the other end of the connection. A proxy that passes on what its client wrote may hand over any text; what is
 * no address is never taken for one.
 */
export function clientAddressOf(request: FastifyRequest): string {
  const address = isIP(request.ip) === 0 ? (request.socket.remoteAddress ?? '') : request.ip;
  return address.replace(/^::ffff:(?=\d+\.)/i, '');
}
