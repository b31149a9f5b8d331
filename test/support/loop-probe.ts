import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

/** What `work` came to, and how late the quickest timer of this thread came meanwhile at worst: how long something held its event loop. */
export async function withProbe<Value>(work: () => Promise<Value>): Promise<{ value: Value; heldMs: number }> {
  let heldMs = 0;
  let lastMs = performance.now();
  const look = (): void => {
    heldMs = Math.max(heldMs, performance.now() - lastMs - 1);
    lastMs = performance.now();
  };
  const timer = setInterval(look, 1);
  try {
    const value = await work();
    look();
    return { value, heldMs };
  } finally {
    clearInterval(timer);
  }
}

/** Fetches pages in a thread of its own, so that taking them in does not hold the event loop of who is looked at. */
export class PageFetcher {
  readonly #worker = new Worker(
    `const { parentPort } = require('node:worker_threads');
     parentPort.on('message', async (url) => parentPort.postMessage(await (await fetch(url)).text()));`,
    { eval: true },
  );

  async fetch(url: string): Promise<string> {
    const answered = once(this.#worker, 'message');
    this.#worker.postMessage(url);
    return String((await answered)[0]);
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}

export interface ScrapeCost {
  readonly bytesMax: number;
  /** One sentence, with the loop's worst wait of each scrape and of as long a time without one. */
  readonly sentence: string;
}

/** What scrapes of a page cost the thread that answers them, beside what an idle time of the same length costs it. */
export async function scrapeCost(url: string, scrapeCount: number): Promise<ScrapeCost> {
  const fetcher = new PageFetcher();
  const scrapes: number[] = [];
  const idles: number[] = [];
  let bytesMax = 0;
  try {
    // The first page makes code warm and lists anew.
    await fetcher.fetch(url);
    for (let count = 0; count < scrapeCount; count += 1) {
      const startedMs = performance.now();
      const { value: page, heldMs } = await withProbe(() => fetcher.fetch(url));
      bytesMax = Math.max(bytesMax, Buffer.byteLength(page));
      scrapes.push(heldMs);
      const tookMs = performance.now() - startedMs;
      idles.push((await withProbe(() => pause(tookMs))).heldMs);
    }
  } finally {
    await fetcher.close();
  }
  const [scraped, idle] = [scrapes, idles].map((all) => all.toSorted((a, b) => a - b)) as [number[], number[]];
  const median = (sorted: readonly number[]): number => sorted[sorted.length >> 1] ?? 0;
  const listed = (sorted: readonly number[]): string => sorted.map((ms) => ms.toFixed(1)).join(' ');
  return {
    bytesMax,
    sentence:
      `a scrape of ${bytesMax} bytes holds the event loop for ${median(scraped).toFixed(1)} ms, idle ${median(idle).toFixed(1)} ms ` +
      `(of ${scrapeCount}: ${listed(scraped)}; idle ${listed(idle)})`,
  };
}
