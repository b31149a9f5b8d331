import { setImmediate } from 'node:timers/promises';
import { type EnvironmentRef, PlatformError } from '@guidon/protocol';
import type { z } from 'zod';
import type { Reply } from '../commit/change.js';
import type { EnvironmentStateRow, RevisionRow } from '../commit/definition-store.js';
import type { ControlPlaneCore } from '../core.js';
import { type EnvironmentPath, getEnvironment, refOf } from '../environments/environment-read-model.js';
import { refusal } from '../flags/flag-input.js';
import { keys } from '../store/keys.js';
import { Bisection } from './bisection.js';
import { DEFINITION_BYTES_MAX, Dependencies, tooMuch } from './dependencies.js';
import { type bisectBody, type evaluateAsOfBody, readContext } from './evaluate-input.js';
import { PastDefinitions } from './past-definitions.js';

/** Definitions read between two looks at the event loop. */
const READ_AT_ONCE = 256;

/** What contexts got, why, and since when. Evaluated by the reference evaluator, in the pool. */
export class EvaluateService {
  readonly #core: ControlPlaneCore;

  constructor(core: ControlPlaneCore) {
    this.#core = core;
  }

  async evaluateAsOf(path: EnvironmentPath, body: z.infer<typeof evaluateAsOfBody>): Promise<Reply> {
    const environment = refOf(getEnvironment(this.#core.store, path).environment);
    const context = readContext(body.context);
    const revision = body.revision ?? this.#revisionAt(environment, body.at ?? 0);
    const past = new PastDefinitions(this.#core.store, environment);
    past.assertKept(revision);
    const now = body.at ?? this.#rowOf(environment, revision).at;
    const flags = body.flags ?? flagsAt(past, revision);
    const changed: Uint8Array[] = [];
    let bytes = 0;
    const dependencies = await new Dependencies(past, context.targetingKeys).at(revision, flags);
    for (const { entry } of dependencies.values()) {
      if (entry === undefined) continue;
      const definition = past.readBytes(entry, revision);
      changed.push(definition);
      bytes += definition.length;
      if (bytes > DEFINITION_BYTES_MAX) throw tooMuch();
      if (changed.length % READ_AT_ONCE === 0) await setImmediate();
    }
    const isExplained = body.flags !== undefined;
    const steps = [{ changed, removed: [] }];
    const request = { environment, context: context.text, flags, isExplained, now, steps };
    const [answers] = JSON.parse((await this.#core.pool.replay(request)).steps) as [unknown[]];
    return {
      status: 200,
      body: {
        revision,
        now,
        answers: flags.map((flag, index) => {
          const answer = answers[index];
          if (!isExplained) return { flag, result: answer };
          return { flag, result: (answer as { result: unknown }).result, explanation: answer };
        }),
      },
    };
  }

  async bisect(path: EnvironmentPath, body: z.infer<typeof bisectBody>): Promise<Reply> {
    const { store, pool } = this.#core;
    const environment = refOf(getEnvironment(store, path).environment);
    const { oldestRevision, revision: newest } = this.#stateOf(environment);
    const { from = oldestRevision, to = newest, now = this.#core.now(), flag } = body;
    const past = new PastDefinitions(store, environment);
    past.assertKept(from);
    past.assertKept(to);
    if (from > to) {
      throw refusal([{ pointer: '/from', code: 'validation-failed', detail: 'must not be behind to' }]);
    }
    const bisection = new Bisection({ past, pool, context: readContext(body.context), flag, now });
    const { first, changes, evaluatedCount, nextFrom } = await bisection.run(from, to);
    const described = changes.map(({ revision, ...change }) => {
      const { at, actorName, summary, auditSequence } = this.#rowOf(environment, revision);
      return { revision, at, actorName, summary, auditSequence, ...change };
    });
    return { status: 200, body: { from, to, now, first, changes: described, evaluatedCount, nextFrom } };
  }

  /** The revision in force at a time, by the clock that stamped them. */
  #revisionAt(environment: EnvironmentRef, at: number): number {
    const { oldestRevision, revision: newest } = this.#stateOf(environment);
    if (at < this.#rowOf(environment, oldestRevision).at) {
      if (oldestRevision > 1) {
        throw new PlatformError('revision-gone', `the oldest revision kept is ${oldestRevision}`, {
          extensions: { oldestRevision },
        });
      }
      throw new PlatformError('not-found', 'the environment was made later');
    }
    let [low, high] = [oldestRevision, newest];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.#rowOf(environment, middle).at <= at) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #stateOf(environment: EnvironmentRef): EnvironmentStateRow {
    const state = this.#core.store.find<EnvironmentStateRow>(keys.environmentState(environment));
    if (state === undefined) throw new Error('an environment without a first revision');
    return state;
  }

  #rowOf(environment: EnvironmentRef, revision: number): RevisionRow {
    const row = this.#core.store.find<RevisionRow>(keys.revision(environment, revision));
    if (row === undefined) throw new PlatformError('storage-unavailable', `revision ${revision} is missing`);
    return row;
  }
}

function flagsAt(past: PastDefinitions, revision: number): string[] {
  return past.names('flag').flatMap((name) => (past.findEntry(name, revision) === undefined ? [] : [name.key]));
}
