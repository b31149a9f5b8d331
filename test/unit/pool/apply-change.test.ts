import { encodeDefinition } from '@guidon/engine';
import { applyChange } from '@guidon/pool/apply-change.js';
import { type WorkerState, WorkerStates } from '@guidon/pool/worker-state.js';
import { parseEnvironmentRef } from '@guidon/protocol';
import { describe, expect, it } from 'vitest';
import { aChunk, aFlag } from '../../support/flag-sets.js';

const environment = (environmentId: string) => parseEnvironmentRef({ tenantId: 't', projectId: 'p', environmentId });

function applied(from: WorkerState | undefined, changed: Uint8Array[], removed: [string, string][] = []): WorkerState {
  const result = applyChange(from, changed, removed);
  if ('issues' in result) throw new Error(JSON.stringify(result.issues));
  return result.state;
}

describe('applyChange()', () => {
  it('counts the bytes of what is there, not of what ever was', () => {
    const [a, longA, b] = [aFlag('a'), aFlag('a', { salt: 'x'.repeat(60) }), aFlag('b')].map(encodeDefinition);
    if (a === undefined || longA === undefined || b === undefined) throw new Error('three flags were encoded');
    const first = applied(undefined, [a, b]);
    expect(first.definitionBytes).toBe(a.length + b.length);
    const replaced = applied(first, [longA]);
    expect(replaced.definitionBytes).toBe(longA.length + b.length);
    expect(applied(replaced, [], [['flag', 'b']]).definitionBytes).toBe(longA.length);
    expect(applied(replaced, [b], [['flag', 'b']]).definitionBytes).toBe(longA.length + b.length);
    expect(applied(replaced, [], [['flag', 'nobody']]).definitionBytes).toBe(longA.length + b.length);
    expect(first.definitionBytes).toBe(a.length + b.length);
  });

  it('6 000 edits of one 20 KB chunk do not push 20 other environments out', () => {
    const states = new WorkerStates(8 * 1024 * 1024);
    const others = Array.from({ length: 20 }, (_, index) => ({
      ref: environment(`other-${index}`),
      state: applied(undefined, [encodeDefinition(aFlag(`flag-${index}`))]),
    }));
    for (const { ref, state } of others) states.put(ref, state);
    const chunk = (edit: number) => encodeDefinition(aChunk('vip', 'included', [`a-${edit}`, ...KEYS]));
    let busy = applied(undefined, [chunk(0)]);
    for (let edit = 1; edit <= 6_000; edit += 1) {
      const next = applied(busy, [chunk(edit)]);
      states.put(environment('busy'), next, busy);
      busy = next;
    }
    expect(busy.definitionBytes).toBe(chunk(6_000).length);
    expect(others.filter(({ ref, state }) => states.find(ref, state.digest) !== undefined)).toHaveLength(20);
  });
});

const KEYS = Array.from({ length: 1_000 }, (_, index) => `member-of-many-${1_000 + index}`);
