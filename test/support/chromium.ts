import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core';

const PROGRAM = '/usr/bin/chromium';
const ARGS = ['--no-sandbox', '--disable-quic', '--disable-background-networking'];
const DEADLINE_MS = 60_000;

/** A page and what went wrong in it. */
export interface WatchedPage {
  readonly page: Page;
  /** What the console called an error, and what was thrown and not caught. Warnings of React come as errors. */
  readonly errors: readonly string[];
}

/** A real headless Chromium, a process of this test that ends with it. */
export class Chromium {
  readonly #browser: Browser;

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  static async start(): Promise<Chromium> {
    return new Chromium(await chromium.launch({ executablePath: PROGRAM, args: ARGS, timeout: DEADLINE_MS }));
  }

  /** Somebody's browser: its pages share storage, locks and channels per origin, and share nothing with other profiles. */
  async profile(options: BrowserContextOptions = {}): Promise<BrowserContext> {
    const profile = await this.#browser.newContext(options);
    profile.setDefaultTimeout(DEADLINE_MS);
    return profile;
  }

  close(): Promise<void> {
    return this.#browser.close();
  }
}

/** A new tab of `profile` at `url`, resolved when the page has loaded. */
export async function openPage(profile: BrowserContext, url: string): Promise<WatchedPage> {
  const page = await profile.newPage();
  const errors: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text());
  });
  page.on('pageerror', (error) => errors.push(String(error)));
  await page.goto(url);
  return { page, errors };
}
