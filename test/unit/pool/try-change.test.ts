import { type Definition, definitionKey, encodeDefinition, type FlagDefinition } from '@guidon/engine';
import { type CompileAnswer, CompilePool, type CompileRequest, type TryAnswer } from '@guidon/pool';
import { LIMITS, parseEnvironmentRef } from '@guidon/protocol';
import { DigestTree, hashDefinition } from '@guidon/protocol/signed-config';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { aChunk, aFlag, aSegment } from '../../support/flag-sets.js';

let pool: CompilePool;
beforeAll(() => {
  pool = new CompilePool({ threadCount: 1 });
});
afterAll(() => pool.close());

const nameOf = (definition: Definition): string => `${definition.kind}\0${definitionKey(definition)}`;

function digestOf(definitions: Iterable<Definition>): string {
  const tree = new DigestTree();
  for (const definition of definitions) {
    tree.set(definition.kind, definitionKey(definition), hashDefinition(encodeDefinition(definition)));
  }
  return tree.digest();
}

let environmentCount = 0;

/** An environment and its definitions in force, whose changes are tried and compiled both. */
class Environment {
  readonly ref;
  inForce = new Map<string, Definition>();
  revision = 0;

  constructor() {
    environmentCount += 1;
    this.ref = parseEnvironmentRef({ tenantId: 't', projectId: 'p', environmentId: `e${environmentCount}` });
  }

  after(put: readonly Definition[], removed: readonly Definition[] = []): Map<string, Definition> {
    const next = new Map(this.inForce);
    for (const definition of removed) next.delete(nameOf(definition));
    for (const definition of put) next.set(nameOf(definition), definition);
    return next;
  }

  request(put: readonly Definition[], removed: readonly Definition[] = []): CompileRequest {
    return {
      environment: this.ref,
      revision: this.revision + 1,
      ...(this.revision === 0 ? {} : { base: digestOf(this.inForce.values()) }),
      changed: put.map(encodeDefinition),
      removed: removed.map((definition) => [definition.kind, definitionKey(definition)] as const),
      expectedDigest: digestOf(this.after(put, removed).values()),
    };
  }

  try(put: readonly Definition[], removed: readonly Definition[] = []): Promise<TryAnswer> {
    return pool.tryChange(this.request(put, removed));
  }

  /** Of everything, in a worker that remembers nothing of it. */
  compile(put: readonly Definition[], removed: readonly Definition[] = []): Promise<CompileAnswer> {
    const all = [...this.after(put, removed).values()].map(encodeDefinition);
    return pool.compile({ environment: this.ref, revision: this.revision + 1, changed: all, removed: [] });
  }

  put(definitions: readonly Definition[], removed: readonly Definition[] = []): void {
    this.inForce = this.after(definitions, removed);
    this.revision += 1;
  }

  async pass(put: readonly Definition[], removed: readonly Definition[] = []): Promise<void> {
    expect(await this.try(put, removed)).toEqual({ status: 'passed' });
    this.put(put, removed);
  }
}

const requiring = (key: string, flag: string, variation = 'yes'): FlagDefinition =>
  aFlag(key, { prerequisites: [{ flag, variations: [variation] }] });
const asking = (key: string, attributes: readonly string[]): FlagDefinition =>
  aFlag(key, {
    rules: attributes.map((attribute, index) => ({
      id: `r${index}`,
      when: { attribute, op: 'in', values: ['x'] },
      serve: { variation: 'yes' },
    })),
  });
const inSegment = (key: string, segment: string): FlagDefinition =>
  aFlag(key, { rules: [{ id: 'r', when: { segment: [segment] }, serve: { variation: 'yes' } }] });

describe('CompilePool.tryChange()', () => {
  test('says of every change what a compile of the whole says, whatever was tried or refused before (I9)', async () => {
    const environment = new Environment();
    await environment.pass([
      ...['a', 'b', 'c', 'd'].map((key) => aFlag(key)),
      aSegment('s'),
      aChunk('s', 'included', ['user-1']),
    ]);
    let seed = 20_261_122;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    const keys = ['a', 'b', 'c', 'd', 'e'];
    const pick = (): string => keys[random(keys.length)] ?? '';
    const changes: (() => readonly [readonly Definition[], readonly Definition[]])[] = [
      () => [[aFlag(pick(), { on: random(2) === 0, salt: `salt-${random(9)}` })], []],
      () => [[requiring(pick(), pick())], []],
      () => [[requiring(pick(), pick()), requiring(pick(), pick(), 'no')], []],
      () => [[requiring(pick(), pick(), 'nothing')], []],
      () => [[asking(pick(), [`attribute-${random(4)}`, 'country'])], []],
      () => [[inSegment(pick(), 's')], []],
      () => [[{ ...aFlag(pick()), offVariation: 'nothing' }], []],
      () => [[aSegment('s', { salt: `salt-${random(9)}` })], []],
      () => [[], [aFlag(pick())]],
    ];
    const statuses = new Set<string>();
    for (let round = 0; round < 120; round += 1) {
      const [put, removed] = changes[random(changes.length)]?.() ?? [[], []];
      const [tried, compiled] = [await environment.try(put, removed), await environment.compile(put, removed)];
      const expected = compiled.status === 'compiled' ? 'passed' : compiled.status;
      expect([round, tried.status]).toEqual([round, expected]);
      statuses.add(expected);
      // A dry run passes and is not made.
      if (tried.status === 'passed' && random(4) > 0) environment.put(put, removed);
    }
    expect([...statuses].sort()).toEqual(['passed', 'refused']);
  });

  test('a cycle, a prerequisite without its variation and one too deep are found among the neighbours', async () => {
    const environment = new Environment();
    const chain = Array.from({ length: LIMITS.referenceDepth }, (_, index) => requiring(`f${index}`, `f${index + 1}`));
    const last = `f${LIMITS.referenceDepth}`;
    await environment.pass([...chain, aFlag(last), aFlag('more')]);
    const issueOf = async (put: readonly Definition[]) => {
      const answer = await environment.try(put);
      return answer.status === 'refused' ? answer.issues.map(({ code, pointer }) => `${code} ${pointer}`) : answer;
    };
    expect(await issueOf([requiring(last, 'more')])).toEqual(['reference-cycle /flags/f0/prerequisites']);
    expect(await issueOf([requiring(last, 'f3')])).toEqual(['reference-cycle /flags/f10/prerequisites']);
    const lacking = {
      ...aFlag('f4'),
      variations: [
        { key: 'no', value: 'no' },
        { key: 'off', value: 'off' },
      ],
    };
    expect(await issueOf([lacking])).toEqual(['dangling-reference /flags/f3/prerequisites/0/variations/0']);
    await environment.pass([requiring('f3', 'f4', 'no')]);
    await environment.pass([aFlag('f4', { on: false })]);
  });

  test('the bound on all attributes together holds for a change of one flag', async () => {
    const environment = new Environment();
    const perFlag = 200;
    const names = (flag: number, count = perFlag) => Array.from({ length: count }, (_, index) => `a-${flag}-${index}`);
    // The kind is a place too.
    const full = Math.floor((LIMITS.slotsPerEnvironment - 1) / perFlag);
    const flags = Array.from({ length: full }, (_, flag) => asking(`f${flag}`, names(flag)));
    await environment.pass([...flags, aFlag('last')]);
    const left = LIMITS.slotsPerEnvironment - 1 - full * perFlag;
    await environment.pass([asking('last', names(full, left))]);
    const answer = await environment.try([asking('last', names(full, left + 1))]);
    expect(answer).toMatchObject({ status: 'refused', issues: [{ code: 'limit-exceeded' }] });
    await environment.pass([asking('f0', names(1))]);
    await environment.pass([asking('last', names(full, left + 1))]);
  });

  test('the bound on all flags holds for a new one, which may be taken back', async () => {
    const environment = new Environment();
    const flags = Array.from({ length: LIMITS.flagsPerEnvironment - 1 }, (_, index) => aFlag(`f${index}`));
    await environment.pass(flags);
    expect(await environment.try([aFlag('one'), aFlag('too-many')])).toMatchObject({
      status: 'refused',
      issues: [{ code: 'limit-exceeded', pointer: '/flags' }],
    });
    await environment.pass([aFlag('one')]);
    expect(await environment.try([aFlag('too-many')])).toMatchObject({ status: 'refused' });
    await environment.pass([], [aFlag('one')]);
    await environment.pass([aFlag('another')]);
  });

  test('refuses content that has not the digest to be signed, and goes on from what it had', async () => {
    const environment = new Environment();
    await environment.pass([aFlag('a'), aFlag('b')]);
    const request = environment.request([aFlag('a', { on: false })]);
    const answer = await pool.tryChange({ ...request, expectedDigest: digestOf([aFlag('a')]) });
    expect(answer).toEqual({ status: 'digest-mismatch', digest: request.expectedDigest });
    await environment.pass([aFlag('b', { on: false })]);
    expect(await pool.tryChange({ ...request, base: digestOf([]) })).toEqual({ status: 'needs-all' });
  });

  test('many at once travel together; one that ends the worker takes no other with it', async () => {
    const small = new CompilePool({ threadCount: 1, workerHeapMegabytesMax: 24 });
    const environments = Array.from({ length: 6 }, () => new Environment());
    const keys = (flag: number) => Array.from({ length: 10_000 }, (_, key) => `key-${flag}-${key}`);
    const big = Array.from({ length: 300 }, (_, flag) =>
      aFlag(`flag-${flag}`, { targets: [{ contextKind: 'user', variation: 'yes', keys: keys(flag) }] }),
    );
    const answers = await Promise.allSettled(
      environments.map((environment, index) => small.tryChange(environment.request(index === 2 ? big : [aFlag('a')]))),
    );
    expect(answers.map((answer) => (answer.status === 'fulfilled' ? answer.value.status : answer.reason.code))).toEqual(
      ['passed', 'passed', 'internal', 'passed', 'passed', 'passed'],
    );
    await small.close();
  });

  test('refuses what is more than may wait (I25), and everything once it is closed', async () => {
    const narrow = new CompilePool({ threadCount: 1, queueCountMax: 2 });
    const answers = await Promise.allSettled(
      Array.from({ length: 8 }, () => narrow.tryChange(new Environment().request([aFlag('a')]))),
    );
    const refused = answers.filter((answer) => answer.status === 'rejected' && answer.reason.code === 'overloaded');
    expect([refused.length > 0, answers.some(({ status }) => status === 'fulfilled')]).toEqual([true, true]);
    await narrow.close();
    await expect(narrow.tryChange(new Environment().request([]))).rejects.toMatchObject({ code: 'overloaded' });
  });
});
