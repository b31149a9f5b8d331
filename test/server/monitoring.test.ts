import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { GroupMetrics } from '@guidon/server/processes/group-metrics.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestControlPlane } from '../support/control-plane.js';
import { REPOSITORY } from '../support/guidon-process.js';
import { removeTemporaryDirectories, startNode } from '../support/running-node.js';
import { SignedFeedServer } from '../support/signed-feed-server.js';

/** Alerts, dashboard and documentation name what the pages have, and all of it: held against the pages of real processes. */
const FOLDER = join(REPOSITORY, 'docs/monitoring');
const METRIC = /\bguidon_[a-z0-9_]+/g;

/** Names of families, with their types. */
const families = new Map<string, string>();

beforeAll(async () => {
  const plane = await TestControlPlane.start();
  await plane.must('GET', '/api/v1/tenants');
  for (const { name, type } of plane.running.metrics()) families.set(name, type);
  await plane.dispose();
  const node = await startNode(new SignedFeedServer());
  const page = await (await fetch(`${node.server.metricsUrl}/metrics`)).text();
  await node.stop();
  for (const [, name = '', type = ''] of page.matchAll(/^# TYPE (\S+) (\S+)$/gm)) families.set(name, type);
  for (const { name, type } of new GroupMetrics().join([], undefined)) families.set(name, type);
});
afterAll(removeTemporaryDirectories);

/** Series that a query may name. */
function isSeries(name: string): boolean {
  const family = name.replace(/_(bucket|sum|count)$/, '');
  return families.has(name) ? families.get(name) !== 'histogram' : families.get(family) === 'histogram';
}

const unknownIn = (text: string): string[] => [...new Set(text.match(METRIC))].filter((name) => !isSeries(name));

function promtool(...args: readonly string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync('promtool', args, { cwd: FOLDER, encoding: 'utf8', timeout: 60_000 });
  return { status, output: stdout + stderr };
}

test('pages name families as they should be named, with their types', () => {
  expect(families.size).toBeGreaterThan(60);
  for (const [name, type] of families) {
    expect(name).toMatch(/^guidon_[a-z0-9_]+$/);
    expect(name.endsWith('_total'), name).toBe(type === 'counter');
    expect(name, name).not.toMatch(/_(ms|milliseconds|kb|mb)(_|$)/);
  }
  const wanted = [
    'build_info',
    'evaluations_total',
    'evaluation_duration_seconds',
    'snapshot_revision',
    'snapshot_age_seconds',
  ];
  wanted.push(
    'propagation_delay_seconds',
    'stream_connections',
    'stream_messages_total',
    'http_request_duration_seconds',
  );
  wanted.push('webhook_deliveries_total', 'lmdb_map_used_bytes', 'event_loop_delay_seconds', 'outbox_oldest_seconds');
  expect(wanted.filter((name) => !families.has(`guidon_${name}`))).toEqual([]);
});

describe('alerts', () => {
  test('are rules, and each fires on what it is for and on nothing else', () => {
    const checked = promtool('check', 'rules', 'alerts.yml');
    expect([checked.status, checked.output]).toEqual([0, expect.stringContaining('14 rules found')]);
    const tested = promtool('test', 'rules', 'alerts.test.yml');
    expect([tested.status, tested.output]).toEqual([0, expect.stringContaining('SUCCESS')]);
  });

  test('name nothing that is on no page', () => {
    expect(unknownIn(readFileSync(join(FOLDER, 'alerts.yml'), 'utf8'))).toEqual([]);
  });
});

test('every query of the dashboard names what is on a page', () => {
  const { panels } = JSON.parse(readFileSync(join(FOLDER, 'dashboard.json'), 'utf8')) as {
    panels: { title: string; targets: { expr: string }[] }[];
  };
  expect(panels.length).toBeGreaterThan(10);
  for (const { title, targets } of panels) {
    for (const { expr } of targets) {
      expect(expr, title).toMatch(METRIC);
      expect(unknownIn(expr), title).toEqual([]);
    }
  }
});

test('docs/monitoring.md names every family, and no other', () => {
  const text = readFileSync(join(REPOSITORY, 'docs/monitoring.md'), 'utf8');
  const rows = [...text.matchAll(/^\| `(guidon_[a-z0-9_]+)` \| (\w+)/gm)].map(([, name, type]) => `${name} ${type}`);
  expect(rows.sort()).toEqual([...families].map(([name, type]) => `${name} ${type}`).sort());
});
