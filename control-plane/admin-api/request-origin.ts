import { isIP } from 'node:net';
import type { FastifyRequest } from 'fastify';
import { type RequestOrigin, USER_AGENT_CHARS_MAX } from '../audit/audit-entry.js';

/** Where a request came from, as its audit entry says it. */
export function originOf(request: FastifyRequest): RequestOrigin {
  const userAgent = (request.headers['user-agent'] ?? '').slice(0, USER_AGENT_CHARS_MAX);
  return { address: clientAddressOf(request), userAgent };
}

/**
 * What a trusted proxy says, else the other end of the connection. A proxy that passes on what its client wrote may hand over any text; what is
 * no address is never taken for one.
 */
export function clientAddressOf(request: FastifyRequest): string {
  const address = isIP(request.ip) === 0 ? (request.socket.remoteAddress ?? '') : request.ip;
  return address.replace(/^::ffff:(?=\d+\.)/i, '');
}
