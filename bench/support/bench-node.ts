import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Definition } from '@guidon/engine';
import type { TenantQuotas } from '@guidon/protocol/signed-config';
import { type BenchEnvironment, BenchFeed, DefinitionSet } from './bench-feed.js';
import { BenchProcess } from './bench-process.js';
import type { NodeOptions, NodeReady } from './node-process.js';

export interface BenchNodeOptions {
  /** Of `startServer`. */
  readonly options?: Partial<NodeOptions>;
  /** Of its Node. */
  readonly execArgv?: readonly string[];
  /** Of the tenants, by the name of their environment. */
  readonly quotas?: Readonly<Record<string, TenantQuotas>>;
}

/** A data-plane node in a process of its own, following a feed with the environments that were asked for. */
export class BenchNode {
  readonly folder: string;
  readonly feed: BenchFeed;
  readonly process: BenchProcess<NodeReady>;
  readonly #environments: ReadonlyMap<string, { environment: BenchEnvironment; token: string }>;

  /** `definitions` by environment name, each of a tenant of its own. */
  static async start(
    definitions: Readonly<Record<string, readonly Definition[]>>,
    { options = {}, execArgv = [], quotas = {} }: BenchNodeOptions = {},
  ): Promise<BenchNode> {
    const folder = mkdtempSync(join(tmpdir(), 'guidon-bench-'));
    const feed = await BenchFeed.start();
    try {
      const environments = new Map(
        Object.entries(definitions).map(([name, set]) => {
          const definitionSet = new DefinitionSet(set);
          const environment = feed.addEnvironment(name, () => definitionSet, quotas[name]);
          return [name, { environment, token: environment.issueCredential() }];
        }),
      );
      const all: NodeOptions = { ...feed.nodeOptions, dataDirectory: join(folder, 'node'), ...options };
      const node = await BenchProcess.start<NodeReady>('support/node-process.js', [JSON.stringify(all)], execArgv);
      return new BenchNode(folder, feed, node, environments);
    } catch (error) {
      await feed.stop();
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  private constructor(
    folder: string,
    feed: BenchFeed,
    process: BenchProcess<NodeReady>,
    environments: ReadonlyMap<string, { environment: BenchEnvironment; token: string }>,
  ) {
    this.folder = folder;
    this.feed = feed;
    this.process = process;
    this.#environments = environments;
  }

  get port(): number {
    return this.process.ready.port;
  }

  environment(name: string): BenchEnvironment {
    return this.#mustFind(name).environment;
  }

  tokenOf(name: string): string {
    return this.#mustFind(name).token;
  }

  async stop(): Promise<void> {
    await this.process.stop();
    await this.feed.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  #mustFind(name: string): { environment: BenchEnvironment; token: string } {
    const found = this.#environments.get(name);
    if (found === undefined) throw new Error(`there is no environment ${name}`);
    return found;
  }
}
