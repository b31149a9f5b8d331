import { setTimeout as sleep } from 'node:timers/promises';
import { createClient, type GuidonClient } from '@guidon/server-sdk';
import { findOption } from '../support/arguments.js';
import { monotonicMs } from '../support/monotonic.js';

/** Asked of the process: each is answered with one message. */
export type ManyClientsRequest =
  | { readonly type: 'open'; readonly count: number }
  /** Answers when every client evaluates `revision`. */
  | { readonly type: 'arrivals'; readonly revision: number };

export interface ManyClientsAnswer {
  /** Of CLOCK_MONOTONIC, milliseconds: when each client had it in force. */
  readonly arrivals: readonly number[];
}

const OPENED_AT_ONCE = 25;
const clients: { readonly client: GuidonClient; revision: number; arrivedAtMs: number }[] = [];

async function open(count: number): Promise<void> {
  const options = { url: findOption('url') ?? '', key: findOption('key') ?? '' };
  while (clients.length < count) {
    const opened = Array.from({ length: Math.min(OPENED_AT_ONCE, count - clients.length) }, () => {
      const client = createClient({ ...options, pollSeconds: 60, events: false, logger: { warn: () => undefined } });
      const entry = { client, revision: 0, arrivedAtMs: 0 };
      client.onChange(undefined, ({ revision }) => {
        entry.revision = revision;
        entry.arrivedAtMs = monotonicMs();
      });
      return entry;
    });
    clients.push(...opened);
    await Promise.all(opened.map(({ client }) => client.waitForReady({ timeoutMs: 120_000 })));
  }
  while (!clients.every(({ client }) => client.status().isStreaming)) await sleep(20);
}

async function arrivals(revision: number): Promise<number[]> {
  while (clients.some((entry) => entry.revision < revision)) await sleep(5);
  return clients.map(({ arrivedAtMs }) => arrivedAtMs);
}

process.on('message', (request: ManyClientsRequest) => {
  const work = request.type === 'open' ? open(request.count).then(() => []) : arrivals(request.revision);
  void work.then((times) => process.send?.({ arrivals: times } satisfies ManyClientsAnswer));
});
process.once('SIGTERM', () => {
  void Promise.all(clients.map(({ client }) => client.close())).then(() => process.exit(0));
});
process.send?.({});
