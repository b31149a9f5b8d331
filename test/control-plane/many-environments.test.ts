import { HealthServer, renderFamilies } from '@guidon/server/processes';
import { pino } from 'pino';
import { afterAll, expect, test } from 'vitest';
import { TestControlPlane } from '../support/control-plane.js';
import { scrapeCost } from '../support/loop-probe.js';

const ENVIRONMENT_COUNT = process.env.GUIDON_DEEP === '1' ? 10_000 : 60;
const PER_PROJECT = 50;
const PER_TENANT = 2_500;
const AT_ONCE = 8;

let plane: TestControlPlane;
let health: HealthServer;
afterAll(async () => {
  await health.close();
  await plane.dispose();
});

/** Environments in tenants and projects of their own, as many as they may have. */
async function makeEnvironments(): Promise<void> {
  for (let tenant = 0; tenant * PER_TENANT < ENVIRONMENT_COUNT; tenant += 1) {
    const seed = await plane.seed(`t${tenant}`);
    const count = Math.min(PER_TENANT, ENVIRONMENT_COUNT - tenant * PER_TENANT);
    for (let project = 0; project * PER_PROJECT < count; project += 1) {
      const path = `${seed.tenant}/projects/p${project}`;
      await plane.must('POST', `${seed.tenant}/projects`, { body: { key: `p${project}`, name: 'p' } });
      for (let from = 0; from < PER_PROJECT; from += AT_ONCE) {
        const made = Array.from({ length: Math.min(AT_ONCE, PER_PROJECT - from) }, (_, index) =>
          plane.must('POST', `${path}/environments`, { body: { key: `e${from + index}`, name: 'e' } }),
        );
        await Promise.all(made);
      }
    }
  }
}

test(`the page of a control plane with ${ENVIRONMENT_COUNT} environments is bounded, and made without holding up requests`, async () => {
  plane = await TestControlPlane.start();
  // As `guidon control-plane` serves it.
  health = await HealthServer.listen({
    host: '127.0.0.1',
    port: 0,
    metrics: { render: () => renderFamilies(plane.running.metrics()) },
    logger: pino({ level: 'silent' }),
    isLive: () => true,
    isReady: () => true,
    details: () => [],
  });
  await makeEnvironments();
  const { body } = await plane.must('GET', '/api/v1/status');
  expect(body.environmentCount).toBeGreaterThanOrEqual(ENVIRONMENT_COUNT);
  const { bytesMax, sentence } = await scrapeCost(`http://127.0.0.1:${health.port}/metrics`, 9);
  expect(bytesMax).toBeLessThan(2 * 1024 * 1024);
  console.log(sentence);
}, 600_000);
