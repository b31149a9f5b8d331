import type { TemplatedApp, WebSocketBehavior } from 'uWebSockets.js';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { PlatformError } from '@guidon/protocol';
import { readTlsFiles, type TlsFiles } from '@guidon/protocol/tls-files';
import { createTlsApp, type ListeningApp, listen, watchConnections } from './uws-app.js';

/** Apps of earlier certificates whose connections go on; of one more the oldest's are ended (I25). */
const RETIRED_COUNT_MAX = 8;

/** A uWS app and what is registered on it. */
interface Generation {
  readonly app: TemplatedApp;
  /** WebSockets too. */
  connectionCount: number;
  listening: ListeningApp | undefined;
}

/**
 * uWS reads a certificate when an app is made and never again (docs/adr/0025). So a reload makes another app with the same routes that shares
 * the port, and the one before listens no more; its connections go on as they are until their clients end them. What was registered is kept
 * here, in order, to be registered again.
 */
export class ReloadableTlsApp {
  /** Register routes and filters here, as on any app. */
  readonly app: TemplatedApp;
  readonly #files: TlsFiles;
  readonly #registrations: ((generation: Generation) => void)[] = [];
  #retired: Generation[] = [];
  #current: Generation;
  #place: { readonly host: string; readonly port: number } | undefined;
  #isStopped = false;
  /** Reloads happen one after another. */
  #reloading: Promise<void> = Promise.resolve();

  /** Throws what is wrong with the files. */
  constructor(files: TlsFiles) {
    this.#files = files;
    this.#current = this.#createGeneration();
    this.app = new Proxy(this.#current.app, {
      get: (_, name) => (REGISTERING.has(name) ? this.#register(name) : Reflect.get(this.#current.app, name)),
    });
  }

  /** As `listen` of uws-app.ts. The port is always one that can be shared: the next certificate's app listens on it too. */
  async listen(host: string, port: number, isShared: boolean): Promise<ListeningApp> {
    // Sharing would let two strangers share as well, where an exclusive port says that it is taken.
    const chosen = isShared ? port : await exclusivePort(host, port);
    this.#place = { host, port: chosen };
    this.#current.listening = await listen(this.#current.app, host, chosen, true);
    return {
      port: chosen,
      stopListening: () => {
        this.#isStopped = true;
        this.#current.listening?.stopListening();
      },
      close: () => {
        this.#isStopped = true;
        this.#current.listening?.close();
        for (const { app } of this.#retired.splice(0)) app.close();
      },
    };
  }

  /** Serves what the files hold now to new connections. Rejects with what is wrong with them, and all stays as it was. */
  reload(): Promise<void> {
    const reloaded = this.#reloading.then(() => this.#reload());
    this.#reloading = reloaded.catch(() => undefined);
    return reloaded;
  }

  async #reload(): Promise<void> {
    if (this.#place === undefined || this.#isStopped) return;
    const next = this.#createGeneration();
    next.listening = await listen(next.app, this.#place.host, this.#place.port, true);
    // Whoever waits to be accepted by a listener that closes is refused by the system: right after a poll nobody does.
    await new Promise((resolve) => setImmediate(resolve));
    const before = this.#current;
    this.#current = next;
    before.listening?.stopListening();
    if (this.#isStopped) next.listening.stopListening();
    this.#retired = [...this.#retired, before].filter(({ connectionCount }) => connectionCount > 0);
    while (this.#retired.length > RETIRED_COUNT_MAX) this.#retired.shift()?.app.close();
  }

  #createGeneration(): Generation {
    readTlsFiles(this.#files);
    const generation: Generation = { app: createTlsApp(this.#files), connectionCount: 0, listening: undefined };
    watchConnections(generation.app, (change) => {
      generation.connectionCount += change;
    });
    for (const register of this.#registrations) register(generation);
    return generation;
  }

  #register(name: string | symbol): (...args: unknown[]) => TemplatedApp {
    return (...args) => {
      const register = (generation: Generation): void =>
        callMethod(generation.app, name, name === 'ws' ? countingSockets(args, generation) : args);
      this.#registrations.push(register);
      register(this.#current);
      return this.app;
    };
  }
}

/** What is said once of an app and holds for each that follows. */
const REGISTERING: ReadonlySet<string | symbol> = new Set([
  'any',
  'del',
  'filter',
  'get',
  'head',
  'options',
  'patch',
  'post',
  'put',
  'ws',
]);

/** uWS tells of the end of HTTP connections alone: that of a WebSocket is its own to tell. `args` are those of `ws`. */
function countingSockets([path, behavior]: readonly unknown[], generation: Generation): readonly unknown[] {
  const { close, ...rest } = behavior as WebSocketBehavior<unknown>;
  const closing: WebSocketBehavior<unknown>['close'] = (...ended) => {
    generation.connectionCount -= 1;
    close?.(...ended);
  };
  return [path, { ...rest, close: closing }];
}

function callMethod(app: TemplatedApp, name: string | symbol, args: readonly unknown[]): void {
  const method: unknown = Reflect.get(app, name);
  if (typeof method !== 'function') throw new Error(`a uWS app has no ${String(name)}`);
  Reflect.apply(method, app, [...args]);
}

/** A port that nobody listens on at this moment, shared or not: `port`, or any for 0. */
async function exclusivePort(host: string, port: number): Promise<number> {
  const probe = createServer();
  try {
    probe.listen({ host, port, exclusive: true });
    await once(probe, 'listening');
    const address = probe.address();
    return typeof address === 'object' && address !== null ? address.port : port;
  } catch (cause) {
    throw new PlatformError('conflict', `the port ${port} on ${host} cannot be listened on`, { cause });
  } finally {
    await new Promise((resolve) => probe.close(resolve));
  }
}
