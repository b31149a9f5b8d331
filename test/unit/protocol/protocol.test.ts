import {
  ERROR_CODES,
  findSubject,
  InProcessChangeBus,
  PlatformError,
  parseEnvironmentRef,
  problemFrom,
  settlesWithin,
  subjectOf,
} from '@guidon/protocol';
import { describe, expect, it } from 'vitest';

const environment = parseEnvironmentRef({ tenantId: 'ten_1', projectId: 'prj_1', environmentId: 'env-1' });

describe('parseEnvironmentRef()', () => {
  it.each(['', 'a.b', 'a/b', 'a b', 'é', 'x'.repeat(65), 7, null, undefined, {}])('refuses the id %j', (tenantId) => {
    expect(() => parseEnvironmentRef({ ...environment, tenantId })).toThrow(/tenantId must match/);
  });
});

describe('subjects', () => {
  it('findSubject() reads what subjectOf() wrote', () => {
    expect(findSubject(subjectOf('config', environment))).toEqual({
      topic: 'config',
      tenantId: 'ten_1',
      environmentId: 'env-1',
    });
  });

  it.each([
    '',
    'guidon.v1.config',
    'guidon.v2.config.a.b',
    'guidon.v1.other.a.b',
    'guidon.v1.config.a.b.c',
    'guidon.v1.config.*.b',
    'guidon.v1.config..b',
  ])('findSubject() refuses %j', (subject) => expect(findSubject(subject)).toBeUndefined());
});

describe('problemFrom()', () => {
  it('carries code, status, pointers and extensions of a PlatformError, and lists at most 20 issues', () => {
    const issues = Array.from({ length: 30 }, (_, index) => ({
      pointer: `/${index}`,
      code: 'validation-failed' as const,
      detail: 'no',
    }));
    const problem = problemFrom(
      new PlatformError('validation-failed', 'Not valid.', { issues, extensions: { status: 200, current: 7 } }),
      'req-1',
    );
    expect(problem).toMatchObject({
      type: '/problems/validation-failed',
      status: 422,
      detail: 'Not valid.',
      instance: 'req-1',
      current: 7,
      errorCount: 30,
    });
    expect(problem.errors).toHaveLength(20);
  });

  it('tells nothing of an unexpected error', () => {
    const text = JSON.stringify(problemFrom(new Error('secret path /etc/x'), 'req-1'));
    expect(text).toContain('"internal"');
    expect(text).not.toContain('secret');
  });

  it('every code has an HTTP error status', () => {
    for (const [code, { status }] of Object.entries(ERROR_CODES)) expect(status, code).toBeGreaterThanOrEqual(400);
  });
});

describe('settlesWithin()', () => {
  it('is true for what settles, either way, and false for what never does', async () => {
    expect(await settlesWithin(Promise.resolve(1), 1_000)).toBe(true);
    expect(await settlesWithin(Promise.reject(new Error('no')), 1_000)).toBe(true);
    expect(await settlesWithin(new Promise(() => {}), 10)).toBe(false);
  });
});

describe('InProcessChangeBus', () => {
  it('delivers in order to every subscriber until it unsubscribes, and refuses after close()', async () => {
    const bus = new InProcessChangeBus();
    const seen: string[] = [];
    const stop = bus.subscribe({
      message: (subject, message) => seen.push(`${subject}:${message[0]}`),
      resumed: () => seen.push('resumed'),
    });
    await bus.publish('a', Uint8Array.of(1), '1');
    await bus.publish('b', Uint8Array.of(2), '2');
    await new Promise(setImmediate);
    stop();
    await bus.publish('c', Uint8Array.of(3), '3');
    await new Promise(setImmediate);
    expect(seen).toEqual(['resumed', 'a:1', 'b:2']);
    await bus.close();
    expect(bus.status().isConnected).toBe(false);
    await expect(bus.publish('d', Uint8Array.of(4), '4')).rejects.toThrow(/closed/);
  });
});
