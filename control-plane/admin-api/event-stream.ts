import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** The body of a reply that is a stream of server-sent events. Chunks are made as fast as the client reads them, so a slow one costs no memory. */
export class EventStream {
  /** Called once, before anything is sent: may still refuse by throwing. */
  readonly open: () => AsyncIterable<string>;

  constructor(open: () => AsyncIterable<string>) {
    this.open = open;
  }
}

/** Proxies neither change nor hold back what is sent. */
const HEADERS = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
} as const;

export function sendEventStream(request: FastifyRequest, reply: FastifyReply, { open }: EventStream): FastifyReply {
  // A stream has no end to be measured: HEAD gets what can be said of it.
  const body = request.method === 'HEAD' ? '' : Readable.from(open(), { highWaterMark: 1 });
  return reply.headers(HEADERS).send(body);
}
