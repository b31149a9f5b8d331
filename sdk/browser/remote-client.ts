import { type Context, EventIds, type FlagDetails, type Json, type JsonObject, ListenerSet } from '@guidon/sdk-core';
import type {
  Bootstrap,
  BrowserClient,
  ClientState,
  ClientStatus,
  FlagReader,
  TrackDetails,
} from './browser-client.js';
import { type BrowserClientOptions, type ClientOptions, parseOptions } from './client-options.js';
import { canonicalText } from './context-text.js';
import { EventSender } from './event-sender.js';
import { Exposures } from './exposures.js';
import { FlagGetters, type Found } from './flag-getters.js';
import { differences } from './flag-values.js';
import { NodeApi, type NodeFailure } from './node-api.js';
import { PageLife } from './page-life.js';
import { RenderedFlags } from './rendered-flags.js';
import { Session } from './session.js';

const WAIT_MS = 10_000;
const CLOSE_MS_MAX = 3_000;
const EVERY_FLAG = '';

/** Values come from a node through a Session, which `identify` exchanges for another; uses of them go to it as events. */
export class RemoteClient extends FlagGetters implements BrowserClient {
  readonly rendered: FlagReader;
  readonly #options: ClientOptions;
  readonly #api: NodeApi;
  readonly #events: EventSender;
  readonly #exposures: Exposures;
  readonly #ids = new EventIds();
  readonly #page: PageLife | undefined;
  readonly #changes = new Map<string, ListenerSet<[readonly string[]]>>();
  readonly #statuses: ListenerSet<[ClientStatus]>;
  /** The context that was asked for last. */
  #session: Session;
  /** The one whose values are served: an older one, until `#session` has values. */
  #served: Session;
  #status: ClientStatus = { state: 'starting', revision: 0 };
  #errorCode: string | undefined;
  #staleTimer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  constructor(options: BrowserClientOptions) {
    super();
    this.#options = parseOptions(options);
    const { url, key, warn } = this.#options;
    this.#api = new NodeApi(url, key);
    this.#events = new EventSender(this.#api, warn);
    this.#exposures = new Exposures(this.#ids, (event) => this.#events.add(event));
    this.#events.onSend = () => this.#exposures.sum();
    this.#statuses = new ListenerSet((error) => warn('a listener threw', error));
    this.rendered = new RenderedFlags(options.bootstrap);
    this.#session = this.#begin(options.context ?? {}, options.bootstrap);
    this.#served = this.#session;
    this.#serve(this.#session);
    // On a server a page is only rendered: there is nobody to be told of changes, and nothing to be closed.
    if (typeof document === 'undefined') return;
    this.#page = new PageLife({
      wake: () => this.#session.wake(),
      sleep: () => this.#session.sleep(),
      network: () => this.#session.retry(),
      leave: () => this.#events.leave(),
    });
    this.#session.wake();
  }

  get context(): Context {
    return this.#session.context;
  }

  get status(): ClientStatus {
    return this.#status;
  }

  allFlags(): JsonObject {
    const values: [string, Json][] = [];
    for (const { flag, value, variation } of this.#served.values.results.values()) {
      if (value !== undefined && variation !== undefined && variation !== null) values.push([flag, value]);
    }
    return Object.fromEntries(values);
  }

  identify(context: Context, timeoutMs = WAIT_MS): Promise<boolean> {
    if (this.#isClosed) return Promise.resolve(false);
    try {
      if (canonicalText(context) !== this.#session.contextText) this.#exchange(context);
    } catch (error) {
      this.#options.warn('a context cannot be read', error);
      return Promise.resolve(false);
    }
    return this.#session.hasValues(timeoutMs);
  }

  onChange(flagKey: string | undefined, listener: (flagKeys: readonly string[]) => void): () => void {
    const name = flagKey ?? EVERY_FLAG;
    let listeners = this.#changes.get(name);
    if (listeners === undefined) {
      listeners = new ListenerSet((error) => this.#options.warn('a listener threw', error));
      this.#changes.set(name, listeners);
    }
    const remove = listeners.add(listener);
    return () => {
      remove();
      if (listeners.count === 0 && this.#changes.get(name) === listeners) this.#changes.delete(name);
    };
  }

  onStatus(listener: (status: ClientStatus) => void): () => void {
    return this.#statuses.add(listener);
  }

  ready(timeoutMs = WAIT_MS): Promise<boolean> {
    // On a server nothing comes.
    return this.#session.hasValues(this.#page === undefined ? 0 : timeoutMs);
  }

  track(name: string, { value, data }: TrackDetails = {}): void {
    const { context } = this.#exposures;
    if (context === undefined || this.#page === undefined || this.#isClosed) return;
    this.#events.add({
      id: this.#ids.next(),
      kind: 'metric',
      at: Date.now(),
      key: name,
      ...(value === undefined ? {} : { value }),
      ...(data === undefined ? {} : { data }),
      context,
    });
  }

  flush(): Promise<void> {
    return this.#events.flush();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#page?.close();
    this.#session.close();
    clearTimeout(this.#staleTimer);
    this.#tellStatus('closed');
    let timer: ReturnType<typeof setTimeout> | undefined;
    const deadline = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_MS_MAX);
    });
    await Promise.race([this.flush(), deadline]);
    clearTimeout(timer);
    this.#events.stop();
  }

  protected override find(flagKey: string): Found {
    const { state, revision } = this.#status;
    const { results, position } = this.#served.values;
    const epoch = position?.epoch;
    return {
      result: results.get(flagKey),
      isReady: position !== undefined,
      reason: state === 'cached' ? 'CACHED' : state === 'stale' ? 'STALE' : undefined,
      revision,
      flagMetadata: epoch === undefined ? {} : { version: `${epoch}.${revision}` },
    };
  }

  protected override used(flagKey: string, details: FlagDetails): void {
    if (this.#page !== undefined && !this.#isClosed) this.#exposures.used(flagKey, details);
  }

  /** Throws what reading the context throws; then nothing has changed. */
  #exchange(context: Context): void {
    const next = this.#begin(context, undefined);
    this.#session.close();
    this.#session = next;
    if (next.values.position !== undefined) this.#serve(next);
    if (this.#page?.isAwake === true) next.wake();
  }

  #begin(context: Context, bootstrap: Bootstrap | undefined): Session {
    const session: Session = new Session(context, this.#api, this.#options, {
      changed: (flagKeys) => {
        if (session !== this.#session) return;
        if (session === this.#served) this.#changed(flagKeys);
        else this.#serve(session);
      },
      heard: (failure) => {
        if (session === this.#session) this.#heard(failure);
      },
    });
    session.begin(bootstrap);
    return session;
  }

  /** Its values are there, or it is the first. */
  #serve(session: Session): void {
    const before = this.#served.values.results;
    this.#served = session;
    this.#exposures.setContext(session.context);
    this.#changed(differences(before, session.values.results));
  }

  #changed(flagKeys: readonly string[]): void {
    this.#refreshStatus();
    if (flagKeys.length === 0) return;
    for (const flagKey of flagKeys) this.#changes.get(flagKey)?.tell([flagKey]);
    this.#changes.get(EVERY_FLAG)?.tell(flagKeys);
  }

  #heard(failure: NodeFailure | undefined): void {
    if (failure !== undefined && failure.code !== this.#errorCode) {
      this.#options.warn(`the node cannot be asked: ${failure.code}`, failure);
    }
    this.#errorCode = failure?.code;
    this.#refreshStatus();
  }

  #refreshStatus(): void {
    if (this.#isClosed) return;
    clearTimeout(this.#staleTimer);
    const { values, isCached, confirmedAt } = this.#served;
    if (values.position === undefined) {
      this.#tellStatus('starting');
      return;
    }
    const leftMs = confirmedAt + this.#options.staleAfterSeconds * 1_000 - Date.now();
    this.#tellStatus(isCached ? 'cached' : leftMs > 0 ? 'live' : 'stale');
    // On a server nothing becomes stale: its program would not end.
    if (this.#status.state === 'live' && this.#page !== undefined) {
      this.#staleTimer = setTimeout(() => this.#refreshStatus(), leftMs + 1);
    }
  }

  #tellStatus(state: ClientState): void {
    const { state: before, revision: revisionBefore, errorCode: codeBefore } = this.#status;
    const revision = this.#served.values.position?.revision ?? 0;
    const errorCode = this.#errorCode;
    if (state === before && revision === revisionBefore && errorCode === codeBefore) return;
    this.#status = { state, revision, ...(errorCode === undefined ? {} : { errorCode }) };
    this.#statuses.tell(this.#status);
  }
}
