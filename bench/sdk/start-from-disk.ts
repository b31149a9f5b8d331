import { createClient } from '@guidon/server-sdk';
import { findOption } from '../support/arguments.js';
import { W2_FLAG, workloadContexts } from '../workloads.js';

/** A program that starts while nobody is there: how long until its first evaluation, from the folder. */
const nowMs = performance.now();
const client = createClient({
  url: 'http://127.0.0.1:9',
  key: findOption('key') ?? '',
  trustRoot: findOption('trust-root') ?? '',
  dataFolder: findOption('folder') ?? '',
  logger: { warn: () => undefined },
});
const [context] = workloadContexts();
const { reason } = client.stringDetails(W2_FLAG, { ...context }, 'default');
const doneMs = performance.now();
process.send?.({ reason, clientMs: doneMs - nowMs, processMs: doneMs });
process.disconnect?.();
await client.close();
