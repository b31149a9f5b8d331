import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Propagation, WrittenRevision } from '../nodes/propagation.js';

const WAIT_SECONDS_MAX = 30;
const LINKS_MAX = 10;
const NAMES_MAX = 20;

/**
 * Headers of the answer to a write: where to read how far each revision has come, and with `Prefer: wait=5` (RFC 7240) whether all live
 * nodes serve it, after waiting for them that long at most. The write is done either way.
 */
export async function addPropagation(
  propagation: Propagation,
  request: FastifyRequest,
  reply: FastifyReply,
  written: readonly WrittenRevision[],
): Promise<void> {
  if (written.length === 0) return;
  const links = written
    .slice(0, LINKS_MAX)
    .map(({ environment, revision }) => `</api/v1/revisions/${environment.environmentId}/${revision}/propagation>`);
  reply.header('link', links.map((link) => `${link}; rel="propagation"`).join(', '));
  const seconds = waitSecondsOf(request.headers.prefer);
  if (seconds === undefined) return;
  const { isComplete, nodeCount, missing } = await propagation.wait(written, seconds * 1000);
  reply.header('preference-applied', `wait=${seconds}`);
  const counts = `served=${nodeCount - missing.length}; nodes=${nodeCount}`;
  const names = isComplete ? '' : `; missing="${missing.slice(0, NAMES_MAX).join(' ')}"`;
  reply.header('x-guidon-propagation', `${isComplete ? 'complete' : 'partial'}; ${counts}${names}`);
}

/** Preferences that are not understood are none, as the RFC has it. */
function waitSecondsOf(header: string | string[] | undefined): number | undefined {
  const wait = /(?:^|[,;\s])wait=(\d{1,6})(?:$|[,;\s])/i.exec(String(header ?? ''))?.[1];
  return wait === undefined || Number(wait) === 0 ? undefined : Math.min(Number(wait), WAIT_SECONDS_MAX);
}
