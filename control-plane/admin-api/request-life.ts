import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Actor } from './actor.js';

declare module 'fastify' {
  interface FastifyInstance {
    /** Identity and permission once more: throws what the request would be answered with now. */
    guardAgain: (request: FastifyRequest) => Actor;
  }
}

/** For what is answered long after it was asked: whether the caller is still there, and still who he was. */
export class RequestLife {
  readonly #request: FastifyRequest;
  readonly #reply: FastifyReply;
  #aborted: AbortController | undefined;

  constructor(request: FastifyRequest, reply: FastifyReply) {
    this.#request = request;
    this.#reply = reply;
  }

  /** Who asks, with the roles of now. Throws when the credential has ended or may not do this any more. */
  actorNow(): Actor {
    return this.#request.server.guardAgain(this.#request);
  }

  /** Of somebody who comes back to a stream of events; `foreign`: it is no id that we gave. */
  get lastEventId(): number | 'foreign' | undefined {
    const id = this.#request.headers['last-event-id'];
    if (id === undefined || id === '') return undefined;
    return typeof id === 'string' && /^\d{1,15}$/.test(id) ? Number(id) : 'foreign';
  }

  /** Ends the connection without an end of the answer. */
  cut(): void {
    this.#request.raw.socket.destroy();
  }

  /** Aborts when the connection ends, or the answer is given. */
  get gone(): AbortSignal {
    if (this.#aborted === undefined) {
      const aborted = new AbortController();
      this.#aborted = aborted;
      const { raw } = this.#reply;
      if (raw.closed) aborted.abort();
      else raw.once('close', () => aborted.abort());
    }
    return this.#aborted.signal;
  }
}
