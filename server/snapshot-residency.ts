import { setImmediate as nextTurn } from 'node:timers/promises';
import { PlatformError, settlesWithin } from '@guidon/protocol';
import type { EnvironmentSlot } from './environment-slot.js';
import { Semaphore } from './snapshot-feed/serial-queue.js';

export interface ResidencyOptions {
  /** Budget of kernel memory for snapshots. */
  readonly bytesMax: number;
  /** Kernel memory that snapshots take now. */
  readonly usedBytes: () => number;
  /** Of one tenant; undefined = no bound but the budget (I17). */
  readonly tenantBytesMaxOf?: (tenantId: string) => number | undefined;
  /** Makes an environment resident, from this node's own disk. Rejects or returns with the slot not resident when it cannot. */
  readonly load: (slot: EnvironmentSlot) => Promise<void>;
}

/** How to take one environment out of kernel memory; the disk keeps it. */
export type Evict = () => void;

/** Beyond so many a snapshot is loaded only when a request asks for it: a node with thousands starts without them. */
const UNASKED_COUNT_MAX = 100;
/** Requests that wait for environments to be loaded, all together, and the bytes of their bodies (I25). */
const WAITING_COUNT_MAX = 2_048;
const WAITING_BYTES_MAX = 64 * 1024 * 1024;
/** The same of one tenant, and its environments that are loaded at once: the others stand behind so many of them, not all (I17). */
const TENANT_WAITING_COUNT_MAX = 512;
const TENANT_WAITING_BYTES_MAX = 16 * 1024 * 1024;
const TENANT_LOADS_MAX = 4;
/** A request waits so long; the load goes on for the next one. */
const WAIT_MS_MAX = 4_000;
/** An environment may leave between its load and the request's turn: a new revision of it may have gone to the disk alone. */
const LOADS_PER_REQUEST_MAX = 3;

/** What one tenant waits for. Made for its first load, gone when nothing of it waits or is loaded. */
interface TenantLine {
  waitingCount: number;
  waitingBytes: number;
  loadCount: number;
  readonly turns: Semaphore;
}

/**
 * Which environments lie in kernel memory, within a budget. The one used longest ago leaves first; the states of one are those of its slot.
 * A request for a cold one waits for its load, which all its requests share; it stays until they have had their turn, or two that do not fit
 * together would push each other out unused. One environment always fits: alone it may exceed the budget. Nothing here waits for the
 * control plane (I12), and absence is never an answer (I13).
 */
export class SnapshotResidency {
  readonly counters = { evictions: 0, reloads: 0, failedReloads: 0, refusedWaits: 0 };
  readonly #options: ResidencyOptions;
  readonly #residents = new Map<EnvironmentSlot, Evict>();
  readonly #loads = new Map<EnvironmentSlot, Promise<void>>();
  /** How many requests wait for it, from before its load until they have used it. */
  readonly #awaited = new Map<EnvironmentSlot, number>();
  readonly #lines = new Map<string, TenantLine>();
  #waitingCount = 0;
  #waitingBytes = 0;
  /** Of the event loop, in which the load that was begun last begins. */
  #turn: Promise<void> = Promise.resolve();

  constructor(options: ResidencyOptions) {
    this.#options = options;
  }

  get residentCount(): number {
    return this.#residents.size;
  }

  get waitingCount(): number {
    return this.#waitingCount;
  }

  /** There is room for a snapshot that nobody has asked for yet. */
  get hasRoom(): boolean {
    return this.#residents.size < UNASKED_COUNT_MAX && this.#options.usedBytes() < this.#options.bytesMax;
  }

  /** Requests wait for it: what it serves next is loaded, not only kept. */
  isWanted(slot: EnvironmentSlot): boolean {
    return this.#loads.has(slot);
  }

  /** A snapshot of this environment was activated; others leave when there is too little room. */
  admit(slot: EnvironmentSlot, evict: Evict): void {
    if (!this.#residents.has(slot)) slot.touch();
    this.#residents.set(slot, evict);
    this.#trim(slot);
  }

  /** Back to the bounds of its tenant and of all, as far as nobody waits for what is there. */
  #trim(kept: EnvironmentSlot): void {
    this.keepTenantWithin(kept);
    const isFree = (slot: EnvironmentSlot): boolean => !this.#awaited.has(slot);
    while (this.#options.usedBytes() > this.#options.bytesMax && this.#evictOne(kept, isFree));
  }

  /**
   * A tenant over its own bound gives up its own environments, nobody else's and `kept` last. Shared blocks count for each that has them. Also
   * when the bound may have changed: lists that say what it is arrive behind the snapshots.
   */
  keepTenantWithin(kept: EnvironmentSlot): void {
    const { tenantId } = kept.environment;
    const bytesMax = this.#options.tenantBytesMaxOf?.(tenantId);
    if (bytesMax === undefined) return;
    const own = (slot: EnvironmentSlot): boolean => slot.environment.tenantId === tenantId;
    const isFree = (slot: EnvironmentSlot): boolean => own(slot) && !this.#awaited.has(slot);
    while (this.#bytesOf(own) > bytesMax && this.#evictOne(kept, isFree));
  }

  #bytesOf(isCounted: (slot: EnvironmentSlot) => boolean): number {
    let bytes = 0;
    for (const slot of this.#residents.keys()) {
      if (isCounted(slot)) bytes += slot.active?.resident.snapshotBytes ?? 0;
    }
    return bytes;
  }

  /** The environment left kernel memory by itself. */
  forget(slot: EnvironmentSlot): void {
    this.#residents.delete(slot);
  }

  /** Runs a load into kernel memory; while that is full, others leave for it. */
  async withRoom<Loaded>(slot: EnvironmentSlot, load: () => Promise<Loaded>): Promise<Loaded> {
    for (;;) {
      try {
        return await load();
      } catch (error) {
        const isFull = error instanceof PlatformError && error.code === 'limit-exceeded';
        if (!isFull || !(this.#evictOne(slot, (other) => !this.#awaited.has(other)) || this.#evictOne(slot)))
          throw error;
      }
    }
  }

  /**
   * Runs `use` while the environment is resident, in the same turn. Throws `not-ready` when nothing serves, `overloaded` when too many wait
   * and `timeout` when the load takes too long.
   */
  async whenResident<Used>(slot: EnvironmentSlot, bodyBytes: number, use: () => Used): Promise<Used> {
    if (slot.active !== undefined) return use();
    this.#awaited.set(slot, (this.#awaited.get(slot) ?? 0) + 1);
    try {
      for (let count = 0; slot.active === undefined; count += 1) {
        if (slot.serving === undefined)
          throw new PlatformError('not-ready', 'This node cannot load its configuration.');
        if (count === LOADS_PER_REQUEST_MAX) throw new PlatformError('overloaded', 'Too many environments are in use.');
        await this.#wait(slot, bodyBytes);
      }
      return use();
    } finally {
      this.#letGo(slot);
    }
  }

  #letGo(slot: EnvironmentSlot): void {
    const others = (this.#awaited.get(slot) ?? 0) - 1;
    if (others > 0) {
      this.#awaited.set(slot, others);
      return;
    }
    this.#awaited.delete(slot);
    // What was loaded meanwhile could not push it out.
    if (this.#residents.has(slot)) this.#trim(slot);
  }

  async #wait(slot: EnvironmentSlot, bodyBytes: number): Promise<void> {
    const { tenantId } = slot.environment;
    const line = this.#lines.get(tenantId) ?? newLine();
    if (!this.#mayWait(line, bodyBytes)) {
      this.counters.refusedWaits += 1;
      throw new PlatformError('overloaded', 'Too many requests wait for their environments to be loaded.');
    }
    this.#lines.set(tenantId, line);
    this.#count(line, 1, bodyBytes);
    try {
      if (!(await settlesWithin(this.#load(slot, line), WAIT_MS_MAX))) {
        throw new PlatformError('timeout', 'The environment takes too long to load.');
      }
    } finally {
      this.#count(line, -1, -bodyBytes);
      this.#leave(tenantId, line);
    }
  }

  #mayWait({ waitingCount, waitingBytes }: TenantLine, bodyBytes: number): boolean {
    if (waitingCount >= TENANT_WAITING_COUNT_MAX || waitingBytes + bodyBytes > TENANT_WAITING_BYTES_MAX) return false;
    return this.#waitingCount < WAITING_COUNT_MAX && this.#waitingBytes + bodyBytes <= WAITING_BYTES_MAX;
  }

  #count(line: TenantLine, count: number, bytes: number): void {
    line.waitingCount += count;
    line.waitingBytes += bytes;
    this.#waitingCount += count;
    this.#waitingBytes += bytes;
  }

  #leave(tenantId: string, { waitingCount, loadCount }: TenantLine): void {
    if (waitingCount + loadCount === 0) this.#lines.delete(tenantId);
  }

  /** Never rejects: whoever waits looks at the slot. */
  #load(slot: EnvironmentSlot, line: TenantLine): Promise<void> {
    const running = this.#loads.get(slot);
    if (running !== undefined) return running;
    line.loadCount += 1;
    const loaded = (): void => this.#loaded(slot, line);
    const load = line.turns.run(() => this.#begin(slot)).then(loaded, loaded);
    this.#loads.set(slot, load);
    return load;
  }

  /**
   * Each load begins in a turn of its own, whoever asks for how many: between two of them everybody else's requests are answered. Bench
   * `neighbour --only cold`.
   */
  #begin(slot: EnvironmentSlot): Promise<void> {
    this.#turn = this.#turn.then(() => nextTurn());
    return this.#turn.then(() => this.#options.load(slot));
  }

  #loaded(slot: EnvironmentSlot, line: TenantLine): void {
    this.#loads.delete(slot);
    line.loadCount -= 1;
    this.#leave(slot.environment.tenantId, line);
    if (slot.active === undefined) this.counters.failedReloads += 1;
    else this.counters.reloads += 1;
  }

  /** False: there is no other that may leave. */
  #evictOne(kept: EnvironmentSlot, mayLeave: (slot: EnvironmentSlot) => boolean = () => true): boolean {
    let oldest: EnvironmentSlot | undefined;
    for (const slot of this.#residents.keys()) {
      if (slot === kept || !mayLeave(slot)) continue;
      if (oldest === undefined || slot.usedAt < oldest.usedAt) oldest = slot;
    }
    const evict = oldest === undefined ? undefined : this.#residents.get(oldest);
    if (oldest === undefined || evict === undefined) return false;
    this.#residents.delete(oldest);
    this.counters.evictions += 1;
    evict();
    return true;
  }
}

function newLine(): TenantLine {
  return { waitingCount: 0, waitingBytes: 0, loadCount: 0, turns: new Semaphore(TENANT_LOADS_MAX) };
}
