import type { Context } from '@guidon/sdk-core';
import type { Bootstrap, EvaluatedFlag } from './browser-client.js';
import type { ClientOptions } from './client-options.js';
import { Connection } from './connection.js';
import { canonicalText, nameOf } from './context-text.js';
import { FlagValues, type ValuesPosition } from './flag-values.js';
import type { NodeApi, NodeFailure } from './node-api.js';
import { isResult, StoredValues } from './stored-values.js';
import { TabGroup } from './tab-group.js';

export interface SessionListener {
  /** The values are others; the flags that differ. The first time also when none does. */
  changed(flagKeys: readonly string[]): void;
  /** A node was reached, or not: `status` may differ. */
  heard(failure: NodeFailure | undefined): void;
}

/** Writing all values for each of many changes would hold the page up. */
const SAVE_MS = 1_000;

/** The values of one context, from the first that storage has until another context takes its place. */
export class Session {
  readonly context: Context;
  /** The same for equal contexts. */
  readonly contextText: string;
  readonly values = new FlagValues();
  /** True: nobody has confirmed the values since they were stored. */
  isCached = false;
  /** Wall clock, of the last time a node confirmed the values, itself or through the leading tab. */
  confirmedAt = 0;
  readonly #listener: SessionListener;
  readonly #stored: StoredValues | undefined;
  readonly #connection: Connection;
  readonly #group: TabGroup<Bootstrap>;
  readonly #waiting = new Set<(isThere: boolean) => void>();
  #saveTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(context: Context, api: NodeApi, options: ClientOptions, listener: SessionListener) {
    this.context = context;
    this.#listener = listener;
    const contextText = canonicalText(context);
    this.contextText = contextText;
    const name = nameOf(`${api.url}\n${options.key}\n${contextText}`);
    this.#stored = options.storage === undefined ? undefined : new StoredValues(options.storage, name);
    this.#connection = new Connection({
      api,
      contextText,
      stream: options.stream,
      pollSeconds: options.pollSeconds,
      values: this.values,
      onValues: (results, at) => {
        const isNews = this.isCached;
        const changed = this.#take(results, at);
        if (changed === undefined) return false;
        this.#confirm();
        if (isNews || changed.length > 0) this.#publish();
        return true;
      },
      onConfirmed: () => {
        this.#confirm();
        this.#group.tell({ type: 'beat' });
      },
      onFailure: (failure) => listener.heard(failure),
    });
    this.#group = new TabGroup(`guidon.v1.${name}`, {
      lead: () => this.#connection.open(),
      follow: () => this.#connection.close(),
      values: () => (this.isCached ? undefined : this.#snapshot()),
      told: ({ results, epoch, revision }) => {
        if (this.#take(results.filter(isResult), { epoch, revision }) !== undefined) this.#confirm();
      },
      confirmed: () => this.#confirm(),
    });
  }

  /** `bootstrap` in place of what is stored: it was evaluated now. */
  begin(bootstrap: Bootstrap | undefined): void {
    // A server that had no configuration yet says revision 0.
    const rendered = bootstrap?.revision === 0 ? undefined : bootstrap;
    const values = rendered ?? this.#stored?.find();
    if (values === undefined) return;
    this.isCached = rendered === undefined;
    if (rendered !== undefined) this.confirmedAt = Date.now();
    this.#take(values.results.filter(isResult), values);
  }

  wake(): void {
    this.#group.wake();
  }

  sleep(): void {
    this.#save();
    this.#group.sleep();
  }

  retry(): void {
    this.#connection.retry();
  }

  /** Ends the connection; the values stay. */
  close(): void {
    this.sleep();
    this.#group.close();
    this.#settle(false);
  }

  /** True when there are values; false when it was closed before, or `timeoutMs` is over. */
  hasValues(timeoutMs: number): Promise<boolean> {
    if (this.values.position !== undefined) return Promise.resolve(true);
    return new Promise((resolve) => {
      const done = (isThere: boolean): void => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve(isThere);
      };
      const timer = setTimeout(done, timeoutMs, false);
      this.#waiting.add(done);
    });
  }

  #take(results: Iterable<EvaluatedFlag>, at: ValuesPosition): readonly string[] | undefined {
    const isFirst = this.values.position === undefined;
    const changed = this.values.replace(results, at);
    if (changed === undefined || !(isFirst || changed.length > 0)) return changed;
    this.#listener.changed(changed);
    this.#settle(true);
    return changed;
  }

  #settle(isThere: boolean): void {
    for (const done of this.#waiting) done(isThere);
  }

  /** What is held is what a node has. */
  #confirm(): void {
    if (this.values.position === undefined) return;
    this.isCached = false;
    this.confirmedAt = Date.now();
    this.#listener.heard(undefined);
  }

  /** To the other tabs, and to storage. */
  #publish(): void {
    this.#group.tell({ type: 'tell', values: this.#snapshot() });
    this.#saveTimer ??= setTimeout(() => this.#save(), SAVE_MS);
  }

  #save(): void {
    if (this.#saveTimer === undefined) return;
    clearTimeout(this.#saveTimer);
    this.#saveTimer = undefined;
    this.#stored?.save(this.#snapshot());
  }

  #snapshot(): Bootstrap {
    const { epoch, revision = 0 } = this.values.position ?? {};
    return { epoch, revision, results: [...this.values.results.values()] };
  }
}
