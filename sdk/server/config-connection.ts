import { ConfigInForce } from './config-in-force.js';
import { DiskCopy } from './disk-copy.js';
import { Follower } from './follower.js';
import { NodeApi } from './node-api.js';
import type { Serving } from './serving.js';
import type { Settings } from './settings.js';
import { Trust } from './trust.js';

export interface ConnectionListeners {
  readonly onServing: (serving: Serving) => void;
  /** A node was heard, or refused the key. */
  readonly onChanged: () => void;
}

/** Everything between the nodes and what is evaluated: disk, trust, the revision in force, and who follows the nodes. */
export class ConfigConnection {
  readonly api: NodeApi;
  readonly #closing = new AbortController();
  readonly #config: ConfigInForce;
  readonly #follower: Follower;
  /** `performance.now()` when a node was heard last; undefined before. */
  heardAtMs: number | undefined;
  /** `performance.now()` of the first refusal of the key since it was taken last, or the beginning. */
  #refusedAtMs: number | undefined;

  /** What the disk has serves when this returns. Throws when the data folder cannot be made. */
  constructor(settings: Settings, { onServing, onChanged }: ConnectionListeners) {
    const { urls, dataFolder, credentialId, trustRoot, environmentId, warn } = settings;
    this.api = new NodeApi(settings.key, this.#closing.signal);
    let keySetUrlIndex = 0;
    const fetchKeySet = async (): Promise<unknown> => {
      try {
        return await this.api.keySet(urls[keySetUrlIndex % urls.length] ?? '');
      } catch (error) {
        keySetUrlIndex += 1;
        throw error;
      }
    };
    const trust = new Trust({ trustRoot, environmentId, fetchKeySet, warn });
    const disk = dataFolder === undefined ? undefined : new DiskCopy(dataFolder, credentialId);
    this.#config = new ConfigInForce({ trust, disk, onActivated: onServing, warn });
    if (disk !== undefined) this.#config.restore();
    this.#follower = new Follower({
      settings,
      api: this.api,
      config: this.#config,
      trust,
      closing: this.#closing.signal,
      onContact: () => {
        this.heardAtMs = performance.now();
        this.#refusedAtMs = undefined;
        onChanged();
      },
      onCredential: (isRefused) => {
        if (isRefused && !this.isKeyRefused) warn('a node does not take the key');
        this.#refusedAtMs = isRefused ? (this.#refusedAtMs ?? performance.now()) : undefined;
        if (isRefused) onChanged();
      },
    });
  }

  /** The last node that was asked does not take the key. */
  get isKeyRefused(): boolean {
    return this.#refusedAtMs !== undefined;
  }

  /** How long nodes have done nothing but refuse the key; 0: they do not. */
  get keyRefusedForMs(): number {
    return this.#refusedAtMs === undefined ? 0 : performance.now() - this.#refusedAtMs;
  }

  get isStreaming(): boolean {
    return this.#follower.isStreaming;
  }

  get isDiskBehind(): boolean {
    return this.#config.isDiskBehind;
  }

  start(): void {
    this.#follower.start();
  }

  pollNow(): void {
    this.#follower.pollNow();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#follower.closed();
    await this.#config.close();
  }
}
