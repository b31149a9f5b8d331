import type { CompiledEnvironment, Definition, FlagSet } from '@guidon/engine';
import type { EnvironmentRef } from '@guidon/protocol';
import type { DigestTree } from '@guidon/protocol/signed-config';

/** What a worker remembers of one environment: enough to compile a change from its changed bytes alone. */
export interface WorkerState {
  readonly digest: string;
  readonly flagSet: FlagSet;
  readonly tree: DigestTree;
  /** Bytes of each definition by `kind NUL key`, and of all of them together. */
  readonly sizes: ReadonlyMap<string, number>;
  readonly definitionBytes: number;
  /** Absent when the state was only made to explain. */
  readonly compiled?: CompiledEnvironment;
}

/** Parsed definitions and compiled blocks together weigh about this many times the definition bytes. */
const BYTES_FACTOR = 4;

/**
 * Two states of an environment at most, the newest and the one it was made from: a change that was compiled and then not made leaves its
 * base in place for the next. Bounded by bytes; the environment used longest ago goes first. The caller then sends everything
 * again (`needs-all`).
 */
export class WorkerStates {
  readonly #bytesMax: number;
  readonly #states = new Map<string, readonly WorkerState[]>();

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  find(environment: EnvironmentRef, digest: string): WorkerState | undefined {
    const key = keyOf(environment);
    const states = this.#states.get(key);
    if (states === undefined) return undefined;
    this.#states.delete(key);
    this.#states.set(key, states);
    return states.find((state) => state.digest === digest);
  }

  put(environment: EnvironmentRef, state: WorkerState, base?: WorkerState): void {
    const key = keyOf(environment);
    this.#states.delete(key);
    this.#states.set(key, base === undefined || base.digest === state.digest ? [state] : [state, base]);
    for (const oldest of this.#states.keys()) {
      if (oldest === key || this.#bytes() <= this.#bytesMax) break;
      this.#states.delete(oldest);
    }
  }

  #bytes(): number {
    let bytes = 0;
    for (const states of this.#states.values()) {
      // Two states of one environment share what did not change between them.
      bytes += Math.max(...states.map(({ definitionBytes }) => definitionBytes)) * BYTES_FACTOR;
    }
    return bytes;
  }
}

const keyOf = ({ tenantId, environmentId }: EnvironmentRef): string => `${tenantId}/${environmentId}`;

/** A flag set that can be changed without touching the one it was copied from. */
export class FlagSetDraft {
  readonly flags: Map<string, FlagSet['flags'] extends ReadonlyMap<string, infer Flag> ? Flag : never>;
  readonly segments: Map<string, FlagSet['segments'] extends ReadonlyMap<string, infer Segment> ? Segment : never>;
  readonly segmentKeys: Map<string, FlagSet['segmentKeys'] extends ReadonlyMap<string, infer Keys> ? Keys : never>;

  constructor(base?: FlagSet) {
    this.flags = new Map(base?.flags);
    this.segments = new Map(base?.segments);
    this.segmentKeys = new Map(base?.segmentKeys);
  }

  set(key: string, definition: Definition): void {
    if (definition.kind === 'flag') this.flags.set(key, definition);
    else if (definition.kind === 'segment') this.segments.set(key, definition);
    else this.segmentKeys.set(key, definition);
  }

  delete(kind: string, key: string): void {
    if (kind === 'flag') this.flags.delete(key);
    else if (kind === 'segment') this.segments.delete(key);
    else if (kind === 'segment-keys') this.segmentKeys.delete(key);
  }
}
