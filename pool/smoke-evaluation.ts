import { type CompiledSnapshot, encodeJsonRequest, type FlagSet, KernelHost } from '@guidon/engine';
import { type Issue, PlatformError } from '@guidon/protocol';

/** Contexts that reach every branch's first step: nobody, somebody, attributes of each type, several kinds. */
const CONTEXTS = [
  {},
  { targetingKey: 'smoke-1' },
  {
    targetingKey: 'smoke-2',
    email: 'smoke@example.test',
    country: 'NL',
    age: 41,
    beta: true,
    appVersion: '2.1.0',
    tags: ['a'],
  },
  { kind: 'multi', user: { targetingKey: 'smoke-3' }, organization: { targetingKey: 'org-1', plan: 'pro' } },
];
/** Flags of one smoke request: answers stay far below the limit of an answer whatever the values weigh. */
const FLAGS_PER_REQUEST = 64;
/** Any fixed instant: `@now` clauses are only to be run, not to be right. */
const NOW = 1_700_000_000_000;

/**
 * The last step before a revision may be activated (I9): the real kernel loads the whole snapshot and evaluates every flag, in a worker, so
 * that a snapshot that traps does so here. A kernel that threw is never used again (I20).
 */
export class SmokeKernel {
  #host: Promise<KernelHost> | undefined;

  /** Throws `overloaded` when this worker lacks the memory: that says nothing about the snapshot. */
  async findIssue(snapshot: CompiledSnapshot, flagSet: FlagSet): Promise<Issue | undefined> {
    const host = await this.#currentHost();
    try {
      const resident = await host.load(snapshot);
      try {
        return evaluateAll(host, resident, [...flagSet.flags.keys()]);
      } finally {
        host.release(resident);
      }
    } catch (error) {
      this.#host = undefined;
      // What is too large by itself was refused before it came here: the memory is full.
      if (error instanceof PlatformError && error.code === 'limit-exceeded') throw overloaded(error);
      return { pointer: '', code: 'internal', detail: `the kernel refused the snapshot: ${describe(error)}` };
    }
  }

  async #currentHost(): Promise<KernelHost> {
    try {
      this.#host ??= KernelHost.create();
      return await this.#host;
    } catch (error) {
      this.#host = undefined;
      throw overloaded(error);
    }
  }
}

function overloaded(cause: unknown): PlatformError {
  return new PlatformError('overloaded', `a worker has no memory for a kernel: ${describe(cause)}`, { cause });
}

function evaluateAll(
  host: KernelHost,
  resident: Awaited<ReturnType<KernelHost['load']>>,
  flagKeys: readonly string[],
): Issue | undefined {
  for (let index = 0; index < flagKeys.length; index += FLAGS_PER_REQUEST) {
    const flags = flagKeys.slice(index, index + FLAGS_PER_REQUEST);
    const body = encodeJsonRequest({ contexts: CONTEXTS, flags });
    const answer = host.evaluate(resident, body, { route: 'batch', now: NOW, clientSideOnly: false });
    if (answer.status === 'ok' || answer.status === 'limit-exceeded') continue;
    return { pointer: '', code: 'internal', detail: `the kernel answered ${answer.status} to a smoke evaluation` };
  }
  return undefined;
}

const describe = (error: unknown): string => (error instanceof Error ? error.message : String(error));
