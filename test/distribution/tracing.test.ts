import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { setUpAdmin, startDev } from '../support/dev-process.js';
import { temporaryFolder } from '../support/guidon-process.js';
import { sendJson } from '../support/http.js';
import { Installation, type RunningGuidonNode } from '../support/installation.js';
import { NatsServer } from '../support/nats-server.js';
import { until } from '../support/running-node.js';
import { type ReceivedSpan, TraceReceiver } from '../support/trace-receiver.js';

/** One trace from a request of the admin API to what nodes make of it (ADR 46), as a collector gets it from real processes. */
vi.setConfig({ testTimeout: 60_000, hookTimeout: 90_000 });
const CALLER = randomBytes(8).toString('hex');
const newTraceId = (): string => randomBytes(16).toString('hex');
const traceparentOf = (traceId: string, flags = '01'): string => `00-${traceId}-${CALLER}-${flags}`;

let receiver: TraceReceiver;

function traceInto(endpoint: string): void {
  vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', endpoint);
  vi.stubEnv('OTEL_BSP_SCHEDULE_DELAY', '50');
}

beforeAll(async () => {
  receiver = await TraceReceiver.start();
});
afterAll(() => receiver.stop());

const named = (spans: readonly ReceivedSpan[], name: string): ReceivedSpan => {
  const span = spans.find((each) => each.name === name);
  if (span === undefined) throw new Error(`no span ${name} among ${spans.map((each) => each.name).join(', ')}`);
  return span;
};
const childrenOf = (spans: readonly ReceivedSpan[], { spanId }: ReceivedSpan): string[] =>
  spans.filter(({ parentSpanId }) => parentSpanId === spanId).map(({ name }) => name);

describe('over NATS, in processes of their own', () => {
  let nats: NatsServer;
  let installation: Installation;
  let nodes: RunningGuidonNode[];

  beforeAll(async () => {
    traceInto(receiver.endpoint);
    nats = await NatsServer.start();
    installation = await Installation.start(['--nats', nats.url]);
    nodes = [await installation.startNode('one'), await installation.startNode('two', ['--processes', '2'])];
    const revision = await installation.turn(false);
    for (const node of nodes) await installation.untilServed(node, revision);
  });
  afterAll(async () => {
    vi.unstubAllEnvs();
    await installation.dispose();
    await nats.dispose();
  });
  const activationsOf = (traceId: string) => receiver.trace(traceId).filter(({ name }) => name === 'activate');

  it('goes from the request of the caller through commit and publication to every node', async () => {
    const traceId = newTraceId();
    const revision = await installation.turn(true, { traceparent: traceparentOf(traceId) });
    await until('both nodes are in the trace', () => activationsOf(traceId).length === nodes.length, 30_000);
    await until('the request is', () => receiver.trace(traceId).some(({ parentSpanId }) => parentSpanId === CALLER));
    const spans = receiver.trace(traceId);
    const route =
      '/api/v1/tenants/:tenantId/projects/:projectKey/environments/:environmentKey/flags/:flagKey/targeting';
    const request = named(spans, `PATCH ${route}`);
    expect(request).toMatchObject({
      service: 'guidon-control-plane',
      parentSpanId: CALLER,
      attributes: { 'http.request.method': 'PATCH', 'http.route': route, 'http.response.status_code': 200 },
    });
    expect(childrenOf(spans, request)).toEqual(['commit']);
    const publication = named(spans, 'publish');
    const position = { 'guidon.environment.id': installation.environmentId, 'guidon.revision': revision };
    expect(childrenOf(spans, named(spans, 'commit'))).toEqual(['publish']);
    expect(publication.attributes).toMatchObject(position);
    for (const activation of activationsOf(traceId)) {
      expect(activation).toMatchObject({ service: 'guidon-node', parentSpanId: publication.spanId, isError: false });
      expect(activation.attributes).toMatchObject({ ...position, 'guidon.outcome': 'activated' });
      expect(childrenOf(spans, activation).sort()).toEqual(['compile', 'load', 'persist', 'swap', 'verify']);
    }
  });

  it('names a refusal by its code, and says nothing of what was sent', async () => {
    const traceId = newTraceId();
    const url = `${installation.environmentUrl}/flags/gate/targeting?dryRun=false`;
    const headers = { traceparent: traceparentOf(traceId), 'content-type': 'application/merge-patch+json' };
    const answer = await sendJson(url, { method: 'PATCH', key: installation.admin, headers, body: { on: true } });
    expect(answer.status).toBe(428);
    await until('both spans', () => receiver.trace(traceId).length === 2);
    const spans = receiver.trace(traceId);
    expect(named(spans, 'commit')).toMatchObject({
      isError: true,
      attributes: { 'error.type': 'precondition-required' },
    });
    const request = spans.find(({ parentSpanId }) => parentSpanId === CALLER);
    expect(request).toMatchObject({ isError: false, attributes: { 'http.response.status_code': 428 } });
    expect(JSON.stringify(spans)).not.toContain('dryRun');
  });

  it('leaves out what the caller does not sample, and what nodes poll', async () => {
    const traceId = newTraceId();
    const revision = await installation.turn(false, { traceparent: traceparentOf(traceId, '00') });
    for (const node of nodes) await installation.untilServed(node, revision);
    const after = newTraceId();
    await installation.turn(true, { traceparent: traceparentOf(after) });
    await until('what came later is there', () => activationsOf(after).length === nodes.length, 30_000);
    expect(receiver.trace(traceId)).toEqual([]);
    expect(receiver.spans.filter(({ name }) => name.includes('/internal/'))).toEqual([]);
  });

  it('takes a traceparent that is none for nothing', async () => {
    const revision = await installation.turn(false, { traceparent: '00-not-a-trace' });
    for (const node of nodes) await installation.untilServed(node, revision);
  });

  it('sends the rest when a process ends', async () => {
    const traceId = newTraceId();
    const url = `${installation.environmentUrl}/flags/gate/targeting`;
    await installation.must('GET', url, undefined, { traceparent: traceparentOf(traceId) });
    expect(await installation.controlPlane.stop('SIGTERM')).toBe(0);
    await until('the last request', () => receiver.trace(traceId).length === 1);
  });
});

describe('guidon dev', () => {
  const folder = temporaryFolder('tracing');
  let count = 0;
  afterAll(() => folder.remove());
  afterEach(() => void vi.unstubAllEnvs());

  /** Runs it for one write and answers which modules it had loaded in the end. */
  async function runOnce(traceId: string): Promise<readonly string[]> {
    count += 1;
    const loadedFile = join(folder.path, `loaded-${count}`);
    const probe = join(folder.path, 'probe.cjs');
    writeFileSync(
      probe,
      `const { isMainThread } = require('node:worker_threads');
      if (isMainThread) process.on('exit', () =>
        require('node:fs').writeFileSync(${JSON.stringify(loadedFile)}, Object.keys(require('node:module')._cache).join('\\n')));`,
    );
    vi.stubEnv('NODE_OPTIONS', `--require ${probe}`);
    const dev = await startDev(join(folder.path, `data-${count}`));
    try {
      const key = await setUpAdmin(dev);
      const url = `${dev.adminUrl}/api/v1/tenants/${dev.tenantId}/projects/demo/environments/development/flags/new-checkout/targeting`;
      const etag = (await sendJson(url, { key })).headers.get('etag') ?? '';
      const headers = {
        traceparent: traceparentOf(traceId),
        'if-match': etag,
        'content-type': 'application/merge-patch+json',
      };
      const { status, body } = await sendJson(url, { method: 'PATCH', key, headers, body: { on: false } });
      expect(status).toBe(200);
      const evaluate = () =>
        sendJson(`${dev.evaluateUrl}/v1/evaluate`, {
          key: dev.serverKey,
          body: { flags: 'new-checkout', context: {} },
        });
      await until('it serves', async () => Number((await evaluate()).body.revision) >= Number(body.revision));
    } finally {
      expect(await dev.process.stop('SIGTERM')).toBe(0);
    }
    return readFileSync(loadedFile, 'utf8').split('\n');
  }
  const ofSdk = (modules: readonly string[]) => modules.filter((name) => /@opentelemetry\/(?!api\/)/.test(name));

  it('traces both planes in one process', async () => {
    traceInto(receiver.endpoint);
    vi.stubEnv('OTEL_SERVICE_NAME', 'flags of the shop');
    const traceId = newTraceId();
    expect(ofSdk(await runOnce(traceId)).join()).toContain('sdk-trace-node');
    const spans = receiver.trace(traceId);
    expect(named(spans, 'activate').parentSpanId).toBe(named(spans, 'publish').spanId);
    expect(new Set(spans.map(({ service }) => service))).toEqual(new Set(['flags of the shop']));
  });

  it('loads nothing and sends nothing without an endpoint', async () => {
    const requestsBefore = receiver.requestCount;
    const modules = await runOnce(newTraceId());
    expect(modules.length).toBeGreaterThan(10);
    expect(ofSdk(modules)).toEqual([]);
    expect(receiver.requestCount).toBe(requestsBefore);
  });

  it('runs and ends without a collector that answers', async () => {
    traceInto('http://127.0.0.1:9');
    await runOnce(newTraceId());
  });
});
