import { createHash } from 'node:crypto';
import { type EnvironmentRef, parseEnvironmentRef } from '../environment-ref.js';
import { PlatformError } from '../platform-error.js';

/** Where one environment stands, as far as a poll needs to know (I15). */
export interface EnvironmentState extends EnvironmentRef {
  readonly epoch: number;
  readonly revision: number;
  readonly accessSequence: number;
}

/**
 * The digest poll over all environments a node serves: `GET /internal/v1/digests` answers `{root, buckets: [256 hex]}` (ETag = root, 304
 * when equal); `?buckets=0a,ff` answers `{environments: [EnvironmentState…]}` of those buckets. An environment's bucket is the first
 * byte of SHA-256(environmentId).
 */
export class EnvironmentDigests {
  readonly #buckets: Map<string, EnvironmentState>[] = Array.from({ length: 256 }, () => new Map());
  readonly #bucketDigests: string[] = Array.from({ length: 256 }, () => '');
  #root: string | undefined;

  set(state: EnvironmentState): void {
    const index = bucketOfEnvironment(state.environmentId);
    this.#buckets[index]?.set(state.environmentId, state);
    this.#forget(index);
  }

  delete(environmentId: string): void {
    const index = bucketOfEnvironment(environmentId);
    if (this.#buckets[index]?.delete(environmentId)) this.#forget(index);
  }

  statesOf(bucket: number): readonly EnvironmentState[] {
    return [...(this.#buckets[bucket]?.values() ?? [])];
  }

  /** Of every environment. */
  states(): readonly EnvironmentState[] {
    return this.#buckets.flatMap((bucket) => [...bucket.values()]);
  }

  bucketDigests(): readonly string[] {
    for (const [index, digest] of this.#bucketDigests.entries()) {
      if (digest === '') this.#bucketDigests[index] = digestOfStates(this.statesOf(index));
    }
    return this.#bucketDigests;
  }

  root(): string {
    // 128 bits, as the buckets: it is compared, never trusted, and travels with each poll.
    this.#root ??= createHash('sha256').update(this.bucketDigests().join()).digest('hex').slice(0, 32);
    return this.#root;
  }

  #forget(index: number): void {
    this.#bucketDigests[index] = '';
    this.#root = undefined;
  }
}

export function bucketOfEnvironment(environmentId: string): number {
  return createHash('sha256').update(environmentId).digest()[0] ?? 0;
}

/** Reads one entry of a digest answer; throws `validation-failed`. */
export function parseEnvironmentState(value: unknown): EnvironmentState {
  const members: Record<string, unknown> = typeof value === 'object' && value !== null ? { ...value } : {};
  const counter = (name: string): number => {
    const number = members[name];
    if (typeof number === 'number' && Number.isSafeInteger(number) && number >= 0) return number;
    throw new PlatformError('validation-failed', `digest answer: ${name} must be a whole number`);
  };
  return {
    ...parseEnvironmentRef(members),
    epoch: counter('epoch'),
    revision: counter('revision'),
    accessSequence: counter('accessSequence'),
  };
}

function digestOfStates(states: readonly EnvironmentState[]): string {
  const lines = states.map((state) =>
    [state.tenantId, state.projectId, state.environmentId, state.epoch, state.revision, state.accessSequence].join('.'),
  );
  return createHash('sha256').update(lines.sort().join('\n')).digest('hex').slice(0, 32);
}
