import assert from 'node:assert/strict';
import { type FlagSet, ReferenceEvaluation } from '@guidon/engine';
import { decode } from '@msgpack/msgpack';
import { httpRequest } from '../support/http-request.js';
import { RawConnection } from '../support/raw-connection.js';
import { flagSetOf } from '../workloads.js';
import { HTTP_ENVIRONMENTS, type HttpCase, type Question } from './http-cases.js';

/** Nothing in the workloads depends on the clock. */
const NOW = 0;
const TURN_MS = 20;

/**
 * Asks what the generator asks, once for every thousand of its requests and over a connection of its own, and holds the answers against the
 * reference evaluator: a generator that reads every answer would measure itself.
 */
export class AnswerChecker {
  checkedCount = 0;
  readonly #connection: RawConnection;
  readonly #requests: readonly Buffer[];
  readonly #httpCase: HttpCase;
  readonly #flagSet: FlagSet;
  #timer: NodeJS.Timeout | undefined;
  #failure: unknown;
  #sentCount = 0;

  static async open(port: number, httpCase: HttpCase, token: string): Promise<AnswerChecker> {
    return new AnswerChecker(await RawConnection.open(port), httpCase, token);
  }

  private constructor(connection: RawConnection, httpCase: HttpCase, token: string) {
    this.#connection = connection;
    this.#httpCase = httpCase;
    this.#flagSet = flagSetOf(HTTP_ENVIRONMENTS[httpCase.environment]);
    const { path, format } = httpCase;
    this.#requests = httpCase.questions.map(({ body }) => httpRequest(body, { path, format, token }));
  }

  /** `requestsPerSecond` is what the generator is expected to send. */
  start(requestsPerSecond: number): void {
    const perTurn = (requestsPerSecond / 1_000) * (TURN_MS / 1_000);
    let due = 1;
    this.#timer = setInterval(() => {
      for (due += perTurn; due >= 1; due -= 1) this.#ask();
    }, TURN_MS);
  }

  pause(): void {
    clearInterval(this.#timer);
  }

  /** Throws when an answer was not the reference's. */
  async stop(): Promise<void> {
    this.pause();
    const deadline = performance.now() + 5_000;
    while (this.#connection.unansweredCount > 0 && this.#connection.isOpen && performance.now() < deadline) {
      await new Promise((wake) => setTimeout(wake, 1));
    }
    const { unansweredCount } = this.#connection;
    this.#connection.close();
    if (this.#failure !== undefined) throw this.#failure;
    assert.equal(unansweredCount, 0, 'every checked request is answered');
  }

  #ask(): void {
    const index = this.#sentCount % this.#requests.length;
    this.#sentCount += 1;
    const [request, question] = [this.#requests[index], this.#httpCase.questions[index]];
    assert(request !== undefined && question !== undefined, 'there is a request for each question');
    this.#connection.send(request, (status, body) => {
      try {
        assert.equal(status, 200, body.toString());
        const answer: unknown = this.#httpCase.format === 'msgpack' ? decode(body) : JSON.parse(body.toString());
        assert.deepEqual(answer, { revision: 1, ...this.#expected(question) });
        this.checkedCount += 1;
      } catch (error) {
        this.#failure ??= error;
      }
    });
  }

  #expected({ shape, asked }: Question): object {
    const results = asked.flatMap(({ context, flags }) => {
      const evaluation = new ReferenceEvaluation(this.#flagSet, context, { now: NOW });
      return flags.map((flag) => evaluation.evaluate(flag));
    });
    return shape === 'one' ? { ...results[0] } : { results };
  }
}
