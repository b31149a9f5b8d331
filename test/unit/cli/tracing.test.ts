import { isTracingWanted } from '@guidon/cli/run/tracing.js';
import { decodeConfigMessage, encodeConfigMessage } from '@guidon/protocol/msgpack';
import { Packr } from 'msgpackr';
import { describe, expect, it } from 'vitest';

describe('whether a process is traced', () => {
  const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' };
  it.each([
    [true, endpoint],
    [true, { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://127.0.0.1:4318/v1/traces' }],
    [true, { ...endpoint, OTEL_SDK_DISABLED: 'false', OTEL_TRACES_EXPORTER: 'otlp' }],
    [false, {}],
    [false, { OTEL_EXPORTER_OTLP_ENDPOINT: ' ' }],
    [false, { OTEL_SERVICE_NAME: 'guidon', OTEL_TRACES_SAMPLER: 'always_on' }],
    [false, { ...endpoint, OTEL_SDK_DISABLED: 'True' }],
    [false, { ...endpoint, OTEL_TRACES_EXPORTER: 'none' }],
  ])('%s: %o', (isWanted, environment) => {
    expect(isTracingWanted(environment)).toBe(isWanted);
  });
});

describe('the traceparent of a bus message', () => {
  const message = {
    signed: { document: Uint8Array.of(1), signature: Uint8Array.of(2) },
    previousRevision: 3,
    delta: { changed: [], removed: [] },
  };
  const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;

  it('comes out as it went in, with a change and without one', () => {
    const { delta: _, ...head } = message;
    for (const each of [message, head]) {
      expect(decodeConfigMessage(encodeConfigMessage({ ...each, traceparent })).traceparent).toBe(traceparent);
      expect(decodeConfigMessage(encodeConfigMessage(each))).not.toHaveProperty('traceparent');
    }
  });

  it.each([
    ['another version', `01-${'a'.repeat(32)}-${'b'.repeat(16)}-01`],
    ['more behind it', `${traceparent}-more`],
    ['upper case', traceparent.toUpperCase()],
    ['no text', 7],
    ['a map', { traceparent }],
    ['a megabyte', 'a'.repeat(1_048_576)],
  ])('is dropped, and the config kept, when it is %s', (_, bad) => {
    const bytes = new Packr({ useRecords: false }).pack({
      manifest: Buffer.from([1]),
      signature: Buffer.from([2]),
      previousRevision: 3,
      changed: [],
      removed: [],
      traceparent: bad,
    });
    expect(decodeConfigMessage(bytes)).toEqual(message);
  });
});
