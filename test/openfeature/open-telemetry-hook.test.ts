import { GuidonProvider, OpenTelemetryHook } from '@guidon/openfeature-server';
import { createTestClient } from '@guidon/server-sdk';
import { OpenFeature } from '@openfeature/server-sdk';
import { context, trace } from '@opentelemetry/api';
import { InMemoryLogRecordExporter, LoggerProvider, SimpleLogRecordProcessor } from '@opentelemetry/sdk-logs';
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { FLAGS } from '../support/openfeature-node.js';

/** The hook with the real SDK of OpenTelemetry: what is exported is what is looked at (ecosystem 1.4). */
const exporter = new InMemoryLogRecordExporter();
const provider = new LoggerProvider({ processors: [new SimpleLogRecordProcessor({ exporter })] });
const tracers = new NodeTracerProvider();
const client = OpenFeature.getClient('telemetry');

beforeAll(async () => {
  tracers.register();
  const guidon = createTestClient({}, { definitions: FLAGS });
  await OpenFeature.setProviderAndWait('telemetry', new GuidonProvider(guidon));
});
afterEach(() => {
  exporter.reset();
  client.clearHooks();
});
afterAll(async () => {
  await OpenFeature.close();
  await provider.shutdown();
  await tracers.shutdown();
  trace.disable();
  context.disable();
});

const exported = () => exporter.getFinishedLogRecords();

it('emits one event with the attributes of the conventions, in the trace that is active', async () => {
  client.addHooks(new OpenTelemetryHook(provider.getLogger('test')));
  const span = tracers.getTracer('test').startSpan('request');
  await context.with(trace.setSpan(context.active(), span), () =>
    client.getStringValue('ruled', 'default', { targetingKey: 'u1', country: 'NL' }),
  );
  span.end();
  expect(exported()).toHaveLength(1);
  const [record] = exported();
  expect(record?.eventName).toBe('feature_flag.evaluation');
  expect(record?.spanContext?.traceId).toBe(span.spanContext().traceId);
  expect(record?.attributes).toMatchObject({
    'feature_flag.key': 'ruled',
    'feature_flag.result.variant': 'off',
    'feature_flag.result.reason': 'targeting_match',
    'feature_flag.provider.name': 'guidon',
    'feature_flag.context.id': 'u1',
  });
  const names = Object.keys(record?.attributes ?? {});
  expect(names).not.toContain('feature_flag.result.value');
  expect(names.filter((name) => /error|message/.test(name))).toEqual([]);
});

it.each([
  ['nowhere', {}, 'flag_not_found'],
  ['number', {}, 'type_mismatch'],
  ['split', {}, 'targeting_key_missing'],
  ['future', {}, 'parse_error'],
])('says of %s what went wrong, by the names that are not deprecated', async (key, attributes, type) => {
  client.addHooks(new OpenTelemetryHook(provider.getLogger('test')));
  await client.getStringValue(key, 'default', attributes);
  const [record] = exported();
  expect(record?.attributes).toMatchObject({
    'feature_flag.key': key,
    'feature_flag.result.reason': 'error',
    'feature_flag.result.value': 'default',
    'error.type': type,
    'feature_flag.error.message': expect.stringMatching(/./),
  });
  expect(Object.keys(record?.attributes ?? {})).not.toContain('error.message');
  expect(Object.keys(record?.attributes ?? {})).not.toContain('feature_flag.context.id');
});

it('adds values where it is told to, objects too', async () => {
  client.addHooks(new OpenTelemetryHook(provider.getLogger('test'), { withValues: true }));
  await client.getObjectValue('object', {}, { targetingKey: 'u1' });
  await client.getNumberValue('number', 0, { targetingKey: 'u1' });
  expect(exported().map(({ attributes }) => attributes['feature_flag.result.value'])).toEqual([
    { deep: [1, { é: '漢🌍' }] },
    2.5,
  ]);
});
