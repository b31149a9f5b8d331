import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OutboxPublisher } from '@guidon/control-plane/publish/outbox-publisher.js';
import type { OutboxRow } from '@guidon/control-plane/publish/outbox-row.js';
import { ControlStore } from '@guidon/control-plane/store/control-store.js';
import { keys } from '@guidon/control-plane/store/keys.js';
import { type ChangeBus, parseEnvironmentRef } from '@guidon/protocol';
import { pino } from 'pino';
import { expect, test } from 'vitest';

test('publishes a bounded number of environments at a time, and all of them in the end (I25)', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'guidon-outbox-'));
  const store = await ControlStore.open({ directory, mapBytes: 1 << 28 });
  const environments = Array.from({ length: 100 }, (_, index) =>
    parseEnvironmentRef({ tenantId: 't', projectId: 'p', environmentId: `env_${index}` }),
  );
  await store.transaction((transaction) => {
    for (const environment of environments) {
      transaction.put(keys.accessState(environment), { sequence: 1, document: '{}', signature: '' });
      const row: OutboxRow = { ...environment, topic: 'access', epoch: 1, from: 0, to: 1 };
      transaction.put(keys.outbox('access', environment.environmentId), row);
    }
  });
  let inFlight = 0;
  let inFlightMax = 0;
  const published: string[] = [];
  const bus: ChangeBus = {
    async publish(subject) {
      inFlight += 1;
      inFlightMax = Math.max(inFlightMax, inFlight);
      await new Promise((resolve) => setImmediate(resolve));
      inFlight -= 1;
      published.push(subject);
    },
    subscribe: () => () => {},
    onLost: () => {},
    status: () => ({ kind: 'in-process', isConnected: true, detail: '' }),
    close: () => Promise.resolve(),
  };
  const publisher = new OutboxPublisher({
    store,
    bus,
    logger: pino({ level: 'silent' }),
    releases: { revisionFor: () => undefined },
  });
  publisher.resume();
  await expect.poll(() => store.list(keys.outboxRows()).length).toBe(0);
  expect(new Set(published).size).toBe(environments.length);
  expect(inFlightMax).toBe(32);
  await publisher.close();
  publisher.wake('access', environments[0] ?? parseEnvironmentRef({}));
  expect(published).toHaveLength(environments.length);
  await store.close();
  rmSync(directory, { recursive: true });
});
