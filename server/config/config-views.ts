import { PlatformError } from '@guidon/protocol';
import type { EnvironmentSlot } from '../environment-slot.js';
import { ConfigView, type DefinitionSource } from './config-view.js';

/** How long what changed is remembered of an environment that nobody streams or polls. */
const UNUSED_MS_MAX = 10 * 60_000;
/** The same of one that another node is fed from: it asks when something has changed, and only then. */
const KEPT_MS_MAX = 24 * 3_600_000;
/** Environments with a view; beyond it the one asked for longest ago is forgotten, streams excepted (I25). */
const VIEWS_MAX = 4_096;
const SWEEP_INTERVAL_MS = 250;

interface Watched {
  readonly view: ConfigView;
  readonly stop: () => void;
  /** Told, in a turn of its own, that clients have to be shown something new. */
  readonly listeners: Set<() => void>;
  isLookDue: boolean;
  unusedMsMax: number;
}

/**
 * The views of the environments that somebody streams or polls. A view follows its slot from the first request on; a look that finds the disk not
 * where the slot is is taken again a moment later.
 */
export class ConfigViews {
  readonly #sourceOf: (slot: EnvironmentSlot) => DefinitionSource | undefined;
  readonly #views = new Map<EnvironmentSlot, Watched>();
  readonly #sweep: NodeJS.Timeout;
  readonly #viewsMax: number;

  constructor(sourceOf: (slot: EnvironmentSlot) => DefinitionSource | undefined, viewsMax = VIEWS_MAX) {
    this.#sourceOf = sourceOf;
    this.#viewsMax = viewsMax;
    this.#sweep = setInterval(() => this.sweep(performance.now()), SWEEP_INTERVAL_MS);
    this.#sweep.unref();
  }

  close(): void {
    clearInterval(this.#sweep);
    for (const { stop } of this.#views.values()) stop();
    this.#views.clear();
  }

  get count(): number {
    return this.#views.size;
  }

  /** At what serves now. Throws `not-ready` before the first revision. */
  of(slot: EnvironmentSlot): ConfigView {
    const { view } = this.#take(slot);
    view.refresh();
    view.usedAtMs = performance.now();
    if (view.position === undefined)
      throw new PlatformError('not-ready', 'This node has no configuration of this environment yet.');
    return view;
  }

  /** As `of`, and what changes is remembered for a day. */
  keep(slot: EnvironmentSlot): ConfigView {
    const view = this.of(slot);
    this.#take(slot).unusedMsMax = KEPT_MS_MAX;
    return view;
  }

  /** Calls `changed` for each new revision until the answer is called. The view stays as long. */
  watch(slot: EnvironmentSlot, changed: () => void): () => void {
    const watched = this.#take(slot);
    watched.listeners.add(changed);
    return () => {
      watched.listeners.delete(changed);
      watched.view.usedAtMs = performance.now();
    };
  }

  #take(slot: EnvironmentSlot): Watched {
    const known = this.#views.get(slot);
    if (known !== undefined) return known;
    const source = this.#sourceOf(slot);
    if (source === undefined) throw new PlatformError('not-ready', 'This node does not know the environment any more.');
    if (this.#views.size >= this.#viewsMax) this.#forgetOldest();
    const watched: Watched = {
      view: new ConfigView(slot, source),
      stop: slot.watch(() => {
        if (watched.isLookDue) return;
        watched.isLookDue = true;
        // Not inside the swap: the disk may be behind it for the rest of this turn.
        queueMicrotask(() => this.#look(watched));
      }),
      listeners: new Set(),
      isLookDue: false,
      unusedMsMax: UNUSED_MS_MAX,
    };
    this.#views.set(slot, watched);
    return watched;
  }

  #look(watched: Watched): void {
    watched.isLookDue = false;
    if (watched.view.refresh()) for (const changed of watched.listeners) changed();
  }

  /** Takes up looks that came too early, and forgets what nobody uses. */
  sweep(nowMs: number): void {
    for (const [slot, watched] of this.#views) {
      const { view, listeners, unusedMsMax } = watched;
      if (listeners.size === 0 && nowMs - view.usedAtMs > unusedMsMax) this.#forget(slot, watched);
      else if (listeners.size > 0 || unusedMsMax === KEPT_MS_MAX) this.#look(watched);
    }
  }

  #forgetOldest(): void {
    let oldest: [EnvironmentSlot, Watched] | undefined;
    for (const [slot, watched] of this.#views) {
      if (watched.listeners.size > 0) continue;
      if (oldest === undefined || watched.view.usedAtMs < oldest[1].view.usedAtMs) oldest = [slot, watched];
    }
    if (oldest !== undefined) this.#forget(...oldest);
  }

  #forget(slot: EnvironmentSlot, { stop }: Watched): void {
    stop();
    this.#views.delete(slot);
  }
}
