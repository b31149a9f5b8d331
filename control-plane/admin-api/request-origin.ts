import type { FastifyRequest } from 'fastify';
import { type RequestOrigin, USER_AGENT_CHARS_MAX } from '../audit/audit-entry.js';

/** Where a request came from, as audit entries keep it. */
export function originOf(request: FastifyRequest): RequestOrigin {
  const userAgent = (request.headers['user-agent'] ?? '').slice(0, USER_AGENT_CHARS_MAX);
  return { address: request.ip, userAgent };
}
