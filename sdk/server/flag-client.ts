import { type Explanation, InProcessEvaluator, ReferenceEvaluation } from '@guidon/engine/in-process';
import { PlatformError } from '@guidon/protocol';
import {
  type Context,
  EventIds,
  type FlagKeyOf,
  type FlagValueOf,
  findEventContext,
  isEventName,
  ListenerSet,
  type Structure,
} from '@guidon/sdk-core';
import { changedFlags } from './changed-flags.js';
import type { AllFlags, ClientState, ClientStatus, FlagsChanged, GuidonClient, TrackDetails } from './client.js';
import { ConfigConnection } from './config-connection.js';
import { EvaluatedFlags } from './evaluated-flags.js';
import { Evaluation } from './evaluation.js';
import { EventSender } from './event-sender.js';
import type { FlagOverrides } from './flag-overrides.js';
import { type LocalConfig, parseLocalConfig } from './local-config.js';
import { OfflineFile } from './offline-file.js';
import { RareWarnings } from './rare-warnings.js';
import { Serving } from './serving.js';
import type { Settings } from './settings.js';
import { Usage } from './usage.js';

const CLOSE_MS_MAX = 2_000;
const WAIT_MS = 5_000;
/** How often it is looked whether time has made the answers stale. */
const STATE_INTERVAL_MS = 1_000;
const REPOLL_MS = 500;
/** A key that is new may take a moment to reach a node. */
const REFUSED_MS = 1_000;

/** The client over whatever its settings name: nodes, a file, or flags of the program itself (then `serveLocal` is called). */
export class FlagClient implements GuidonClient {
  readonly #settings: Settings;
  /** Of what callers get wrong in each call. */
  readonly #callWarnings: RareWarnings;
  readonly #evaluation: Evaluation;
  readonly #eventIds = new EventIds();
  readonly #usage: Usage | undefined;
  readonly #events: EventSender | undefined;
  readonly #connection: ConfigConnection | undefined;
  readonly #file: OfflineFile | undefined;
  readonly #changes: ListenerSet<[changed: FlagsChanged, flagKeys: ReadonlySet<string>]>;
  readonly #statuses: ListenerSet<[status: ClientStatus]>;
  readonly #stateTimer: NodeJS.Timeout;
  readonly #startedAtMs = performance.now();
  #toldState: ClientState = 'starting';
  #closing: Promise<void> | undefined;

  constructor(settings: Settings, overrides: FlagOverrides) {
    this.#settings = settings;
    const { warn, hooks, urls } = settings;
    this.#callWarnings = new RareWarnings(warn);
    const warnOfCall = (message: string, error?: unknown): void => this.#callWarnings.warn(message, error);
    const onThrow = (error: unknown): void => warn('a listener threw', error);
    this.#changes = new ListenerSet(onThrow);
    this.#statuses = new ListenerSet(onThrow);
    if (settings.sendsEvents)
      this.#usage = new Usage(this.#eventIds, (event) => {
        this.#events?.add(event);
      });
    const staleReason = () => this.#staleReason();
    this.#evaluation = new Evaluation({ overrides, hooks, usage: this.#usage, staleReason, warn: warnOfCall });
    if (settings.bootstrap !== undefined) this.serveLocal(settings.bootstrap);
    if (settings.offlineFile !== undefined) {
      this.#file = new OfflineFile({
        path: settings.offlineFile,
        onConfig: (config) => this.serveLocal(config),
        warn,
      });
    } else if (urls.length > 0) {
      this.#connection = new ConfigConnection(settings, {
        onServing: (serving) => this.#serve(serving),
        onChanged: () => this.#tellState(),
      });
      const { api } = this.#connection;
      if (settings.sendsEvents)
        this.#events = new EventSender({ api, urls, warn: warnOfCall, onSend: () => this.#usage?.sum() });
      this.#connection.start();
    }
    this.#stateTimer = setInterval(() => this.#tellState(), STATE_INTERVAL_MS);
    this.#stateTimer.unref();
  }

  boolean<Key extends FlagKeyOf<boolean>>(flagKey: Key, context: Context, defaultValue: FlagValueOf<Key, boolean>) {
    if (this.#evaluation.isObserved) return this.booleanDetails(flagKey, context, defaultValue).value;
    const value = this.#evaluation.value(flagKey, context);
    return typeof value === 'boolean' ? (value as FlagValueOf<Key, boolean>) : defaultValue;
  }

  string<Key extends FlagKeyOf<string>>(flagKey: Key, context: Context, defaultValue: FlagValueOf<Key, string>) {
    if (this.#evaluation.isObserved) return this.stringDetails(flagKey, context, defaultValue).value;
    const value = this.#evaluation.value(flagKey, context);
    return typeof value === 'string' ? (value as FlagValueOf<Key, string>) : defaultValue;
  }

  number<Key extends FlagKeyOf<number>>(flagKey: Key, context: Context, defaultValue: FlagValueOf<Key, number>) {
    if (this.#evaluation.isObserved) return this.numberDetails(flagKey, context, defaultValue).value;
    const value = this.#evaluation.value(flagKey, context);
    return typeof value === 'number' ? (value as FlagValueOf<Key, number>) : defaultValue;
  }

  json<Key extends FlagKeyOf<Structure>>(flagKey: Key, context: Context, defaultValue: FlagValueOf<Key, Structure>) {
    if (this.#evaluation.isObserved) return this.jsonDetails(flagKey, context, defaultValue).value;
    const value = this.#evaluation.value(flagKey, context);
    return typeof value === 'object' ? (value as FlagValueOf<Key, Structure>) : defaultValue;
  }

  booleanDetails<Key extends FlagKeyOf<boolean>>(
    flagKey: Key,
    context: Context,
    defaultValue: FlagValueOf<Key, boolean>,
  ) {
    return this.#evaluation.details(flagKey, context, 'boolean', defaultValue);
  }

  stringDetails<Key extends FlagKeyOf<string>>(flagKey: Key, context: Context, defaultValue: FlagValueOf<Key, string>) {
    return this.#evaluation.details(flagKey, context, 'string', defaultValue);
  }

  numberDetails<Key extends FlagKeyOf<number>>(flagKey: Key, context: Context, defaultValue: FlagValueOf<Key, number>) {
    return this.#evaluation.details(flagKey, context, 'number', defaultValue);
  }

  jsonDetails<Key extends FlagKeyOf<Structure>>(
    flagKey: Key,
    context: Context,
    defaultValue: FlagValueOf<Key, Structure>,
  ) {
    return this.#evaluation.details(flagKey, context, 'json', defaultValue);
  }

  allFlags(context: Context, { clientSideOnly = false }: { readonly clientSideOnly?: boolean } = {}): AllFlags {
    const { serving } = this.#evaluation;
    if (serving === undefined) return new EvaluatedFlags({ epoch: 0, revision: 0 }, []);
    return new EvaluatedFlags(serving, serving.evaluator.evaluateAll(context, { ...serving.options, clientSideOnly }));
  }

  explain(flagKey: string, context: Context): Explanation | undefined {
    const { serving } = this.#evaluation;
    if (serving === undefined) return undefined;
    const explainFor = (asked: unknown): Explanation =>
      new ReferenceEvaluation(serving.flagSet, asked, { now: Date.now() }).explain(flagKey);
    try {
      return explainFor(context);
    } catch (error) {
      // Nothing of the caller's may come out of here, as with the getters, whose answer is INVALID_CONTEXT too.
      this.#callWarnings.warn('a context could not be read', error);
      return explainFor(undefined);
    }
  }

  onChange(flagKey: string | undefined, listener: (changed: FlagsChanged) => void): () => void {
    return this.#changes.add((changed, flagKeys) => {
      if (flagKey === undefined || flagKeys.has(flagKey)) listener(changed);
    });
  }

  onStatus(listener: (status: ClientStatus) => void): () => void {
    return this.#statuses.add(listener);
  }

  status(): ClientStatus {
    const { serving } = this.#evaluation;
    const heardAtMs = this.#connection?.heardAtMs;
    return {
      state: this.#state(),
      epoch: serving?.epoch ?? 0,
      revision: serving?.revision ?? 0,
      ageSeconds: heardAtMs === undefined ? undefined : Math.floor((performance.now() - heardAtMs) / 1000),
      isStreaming: this.#connection?.isStreaming ?? false,
      isKeyRefused: this.#connection?.isKeyRefused ?? false,
      isDiskBehind: this.#connection?.isDiskBehind ?? false,
      lostEventCount: this.#events?.lostCount ?? 0,
    };
  }

  async waitForReady({ timeoutMs = WAIT_MS }: { readonly timeoutMs?: number } = {}): Promise<void> {
    const isReady = () => ['live', 'local'].includes(this.#state());
    const isRefused = () => (this.#connection?.keyRefusedForMs ?? 0) >= REFUSED_MS;
    await this.#waitUntil(() => isReady() || isRefused(), timeoutMs);
    if (isReady() || this.#evaluation.serving !== undefined) return;
    throw this.#connection?.isKeyRefused === true
      ? new PlatformError('invalid-credentials', 'the key is not taken, and there is no configuration')
      : new PlatformError('timeout', `there is no configuration after ${timeoutMs} ms`);
  }

  async waitForRevision(
    revision: number,
    { timeoutMs = WAIT_MS }: { readonly timeoutMs?: number } = {},
  ): Promise<void> {
    const isThere = () => (this.#evaluation.serving?.revision ?? 0) >= revision;
    if (isThere()) return;
    this.#connection?.pollNow();
    const repoll = setInterval(() => this.#connection?.pollNow(), REPOLL_MS);
    try {
      if (await this.#waitUntil(isThere, timeoutMs)) return;
    } finally {
      clearInterval(repoll);
    }
    throw new PlatformError('revision-behind', `revision ${revision} has not come in ${timeoutMs} ms`);
  }

  track(name: string, context: Context, { value, data }: TrackDetails = {}): void {
    try {
      const subject = findEventContext(context);
      if (subject === undefined || !isEventName(name)) {
        this.#callWarnings.warn('a tracked event needs a name, and a context with a targetingKey');
        return;
      }
      this.#events?.add({
        id: this.#eventIds.next(),
        kind: 'metric',
        at: Date.now(),
        key: name,
        ...(value === undefined ? {} : { value }),
        ...(data === undefined ? {} : { data }),
        context: subject,
      });
    } catch (error) {
      this.#callWarnings.warn('an event could not be tracked', error);
    }
  }

  async flush(): Promise<void> {
    await this.#events?.flush();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    clearInterval(this.#stateTimer);
    this.#file?.close();
    await this.#events?.close(CLOSE_MS_MAX);
    await this.#connection?.close();
    this.#tellState();
    this.#changes.clear();
    this.#statuses.clear();
  }

  /** Flags of the program itself. Throws `validation-failed`; then nothing has changed. */
  protected serveLocal(config: LocalConfig): void {
    const previous = this.#evaluation.serving;
    const flagSet = parseLocalConfig(config, previous?.flagSet);
    // A bootstrap has no number: whatever comes from a node replaces it.
    const isBootstrap = this.#settings.urls.length > 0;
    const at = { epoch: 0, revision: isBootstrap ? 0 : (previous?.revision ?? 0) + 1 };
    const evaluator = new InProcessEvaluator(flagSet, previous?.evaluator);
    this.#serve(new Serving({ flagSet, evaluator, readsClock: true }, at));
  }

  #serve(next: Serving): void {
    const previous = this.#evaluation.serving;
    this.#evaluation.serving = next;
    if (this.#changes.count > 0) {
      const flagKeys = changedFlags(previous?.flagSet, next.flagSet);
      const { epoch, revision } = next;
      if (flagKeys.size > 0) this.#changes.tell({ epoch, revision, flagKeys: [...flagKeys] }, flagKeys);
    }
    this.#tellState();
  }

  #state(): ClientState {
    if (this.#closing !== undefined) return 'closed';
    if (this.#evaluation.serving === undefined) return 'starting';
    if (this.#settings.urls.length === 0) return 'local';
    const heardAtMs = this.#connection?.heardAtMs;
    const isStale = performance.now() - (heardAtMs ?? this.#startedAtMs) > this.#settings.staleAfterMs;
    if (isStale) return 'stale';
    return heardAtMs === undefined ? 'cached' : 'live';
  }

  #staleReason(): 'CACHED' | 'STALE' | undefined {
    if (this.#settings.urls.length === 0) return undefined;
    const heardAtMs = this.#connection?.heardAtMs;
    if (performance.now() - (heardAtMs ?? this.#startedAtMs) > this.#settings.staleAfterMs) return 'STALE';
    return heardAtMs === undefined ? 'CACHED' : undefined;
  }

  #tellState(): void {
    const state = this.#state();
    if (state === this.#toldState) return;
    this.#toldState = state;
    this.#statuses.tell(this.status());
  }

  /** True when it is so before `timeoutMs` is over. Looked at whenever a node is heard and a revision comes. */
  async #waitUntil(isTrue: () => boolean, timeoutMs: number): Promise<boolean> {
    const deadlineMs = performance.now() + timeoutMs;
    while (!isTrue()) {
      const leftMs = deadlineMs - performance.now();
      if (leftMs <= 0 || this.#closing !== undefined) return false;
      await new Promise((resolve) => setTimeout(resolve, Math.min(leftMs, WAIT_STEP_MS)));
    }
    return true;
  }
}

const WAIT_STEP_MS = 5;
