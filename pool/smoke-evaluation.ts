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
/** Of snapshots that stay loaded in one worker. */
const RESIDENT_BYTES_MAX = 256 * 1024 * 1024;
/** Any fixed instant: `@now` clauses are only to be run, not to be right. */
const NOW = 1_700_000_000_000;

type Resident = Awaited<ReturnType<KernelHost['load']>>;

/**
 * The last step before a revision may be activated (I9): the real kernel loads the whole snapshot and evaluates every flag, in a worker, so
 * that a snapshot that traps does so here. A kernel that threw is never used again (I20).
 */
export class SmokeKernel {
  #host: Promise<KernelHost> | undefined;
  /**
   * What passed last of each environment, the one used longest ago first: it stays loaded so that the next revision brings only the blocks
   * that are new. Bounded by RESIDENT_BYTES_MAX; dropped with the host.
   */
  readonly #residents = new Map<string, Resident>();

  /**
   * Throws `overloaded` when this worker lacks the memory: that says nothing about the snapshot. `isKept` false: another one of the environment
   * stays loaded, and this one does not.
   */
  async findIssue(snapshot: CompiledSnapshot, flagSet: FlagSet, { isKept = true } = {}): Promise<Issue | undefined> {
    const host = await this.#currentHost();
    try {
      const resident = await this.#load(host, snapshot);
      const issue = evaluateAll(host, resident, [...flagSet.flags.keys()]);
      if (issue === undefined && isKept) this.#keep(host, resident);
      else host.release(resident);
      return issue;
    } catch (error) {
      this.#host = undefined;
      this.#residents.clear();
      // What is too large by itself was refused before it came here: the memory is full.
      if (error instanceof PlatformError && error.code === 'limit-exceeded') throw overloaded(error);
      return { pointer: '', code: 'internal', detail: `the kernel refused the snapshot: ${describe(error)}` };
    }
  }

  /** When the memory is full, what others left there goes first. */
  async #load(host: KernelHost, snapshot: CompiledSnapshot): Promise<Resident> {
    try {
      return await host.load(snapshot);
    } catch (error) {
      const isFull = error instanceof PlatformError && error.code === 'limit-exceeded';
      if (!isFull || this.#residents.size === 0) throw error;
      for (const resident of this.#residents.values()) host.release(resident);
      this.#residents.clear();
      return host.load(snapshot);
    }
  }

  #keep(host: KernelHost, resident: Resident): void {
    const { tenantId, environmentId } = resident.environment;
    const key = `${tenantId}/${environmentId}`;
    const before = this.#residents.get(key);
    if (before !== undefined) host.release(before);
    this.#residents.delete(key);
    this.#residents.set(key, resident);
    let bytes = 0;
    for (const { snapshotBytes } of this.#residents.values()) bytes += snapshotBytes;
    for (const [oldestKey, oldest] of this.#residents) {
      if (bytes <= RESIDENT_BYTES_MAX) break;
      host.release(oldest);
      this.#residents.delete(oldestKey);
      bytes -= oldest.snapshotBytes;
    }
  }

  async #currentHost(): Promise<KernelHost> {
    try {
      // What is answered here nobody asked: to name it, flag by flag, took longer than to evaluate it.
      this.#host ??= KernelHost.create({ keepsUsage: false });
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

function evaluateAll(host: KernelHost, resident: Resident, flagKeys: readonly string[]): Issue | undefined {
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
