import type { BrowserClientOptions } from '@guidon/browser-sdk';
import type { ServerOptions } from '@guidon/server';
import type { BrowserContext } from 'playwright-core';
import { Chromium, openPage, type WatchedPage } from './chromium.js';
import { freeLowPort } from './nginx.js';
import { PageServer } from './page-server.js';
import { until } from './running-node.js';
import { StreamedPlatform, type StreamedTenant } from './streamed-platform.js';

/** A control plane, a node, a browser, and an origin whose pages run browser clients. */
export class BrowserPlatform {
  readonly platform: StreamedPlatform;
  readonly chromium: Chromium;
  readonly pages: PageServer;
  readonly #clientUrl: string;

  static async start(options: Partial<ServerOptions> = {}): Promise<BrowserPlatform> {
    const [platform, chromium, pages] = await Promise.all([
      // A node that comes back must find its port free.
      StreamedPlatform.start({ port: await freeLowPort(), ...options }),
      Chromium.start(),
      PageServer.start(),
    ]);
    return new BrowserPlatform(platform, chromium, pages, await pages.addApp('/client', 'browser/pages/client.ts'));
  }

  private constructor(platform: StreamedPlatform, chromium: Chromium, pages: PageServer, clientUrl: string) {
    this.platform = platform;
    this.chromium = chromium;
    this.pages = pages;
    this.#clientUrl = clientUrl;
  }

  async close(): Promise<void> {
    await this.chromium.close();
    await this.pages.close();
    await this.platform.close();
  }

  /** A client key for pages of `origins`, once the node takes it. */
  async addWebKey(tenant: StreamedTenant, origins: readonly string[] = [this.pages.origin]): Promise<string> {
    const body = { kind: 'web', name: 'pages', allowedOrigins: origins };
    const made = await this.platform.plane.must('POST', `${tenant.environment}/credentials`, { body });
    const key: string = made.body.token;
    await until('the node takes the key', async () => (await this.platform.get('/v1/config', key)).status === 403);
    return key;
  }

  /** A tab of `profile` with a client; `window.guidon` is what pages/client.ts says. */
  async openClient(
    profile: BrowserContext,
    options: Partial<BrowserClientOptions> & { key: string },
  ): Promise<ClientTab> {
    const all = { url: this.platform.server.url, ...options };
    return new ClientTab(await openPage(profile, `${this.#clientUrl}#${encodeURIComponent(JSON.stringify(all))}`));
  }
}

/** A tab with a browser client in it. */
export class ClientTab {
  readonly page: WatchedPage['page'];
  readonly errors: readonly string[];

  constructor({ page, errors }: WatchedPage) {
    this.page = page;
    this.errors = errors;
  }

  /** What the client says of a string flag. */
  value(flagKey: string): Promise<string> {
    return this.page.evaluate((key) => window.guidon.client.string(key, 'default'), flagKey);
  }

  details(flagKey: string) {
    return this.page.evaluate((key) => window.guidon.client.stringDetails(key, 'default'), flagKey);
  }

  /** Epoch milliseconds at which the page knew. */
  async untilValue(flagKey: string, value: string): Promise<number> {
    const handle = await this.page.waitForFunction(
      ([key, expected]) => window.guidon.client.string(key ?? '', '') === expected && Date.now(),
      [flagKey, value],
      { polling: 5 },
    );
    return Number(await handle.jsonValue());
  }

  async untilState(state: string): Promise<void> {
    await this.page.waitForFunction((expected) => window.guidon.client.status.state === expected, state, {
      polling: 20,
    });
  }

  /** What the page asked the network for, from the first on that holds `part`. */
  requests(part = ''): Promise<string[]> {
    return this.page.evaluate((text) => window.guidon.requests.filter((request) => request.includes(text)), part);
  }
}
