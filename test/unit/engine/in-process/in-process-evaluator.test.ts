import {
  type AttributeClause,
  type Definition,
  type FlagDefinition,
  InProcessEvaluator,
  type Result,
} from '@guidon/engine';
import { LIMITS } from '@guidon/protocol';
import { describe, expect, it } from 'vitest';
import { aChunk, aFlag, aSegment, flagSetOf } from '../../../support/flag-sets.js';

const OPTIONS = { now: 0 };
const INVALID = { flag: 'f', reason: 'ERROR', errorCode: 'INVALID_CONTEXT' };
const when = (attribute: string, ...values: (string | number)[]): Pick<FlagDefinition, 'rules'> => ({
  rules: [{ id: 'r', when: { attribute, op: 'in', values }, serve: { variation: 'yes' } }],
});
const evaluatorOf = (definitions: readonly Definition[], previous?: InProcessEvaluator): InProcessEvaluator =>
  new InProcessEvaluator(flagSetOf(definitions), previous);
const ask = (definitions: readonly Definition[], context: unknown): Result =>
  evaluatorOf(definitions).evaluate('f', context, OPTIONS);

describe('InProcessEvaluator over values that are no data', () => {
  const flag = aFlag('f', when('plan', 'pro'));
  const fail = (): never => {
    throw new Error('of the application');
  };

  it.each<[string, unknown]>([
    ['null', null],
    ['an array', []],
    ['a text', 'user-1'],
    ['a function', fail],
    ['an accessor that throws', Object.defineProperty({}, 'plan', { get: fail, enumerable: true })],
    ['a hidden accessor that throws', Object.defineProperty({}, 'plan', { get: fail })],
    ['a hidden kind that throws', Object.defineProperty({}, 'kind', { get: fail })],
    ['a proxy that throws', new Proxy({}, { ownKeys: fail })],
    ['a proxy that throws late', new Proxy({ plan: 'pro' }, { getOwnPropertyDescriptor: fail })],
    ['a list that throws', { plan: new Proxy(['pro'], { get: fail }) }],
    ['an object that contains itself', Object.assign(Object.create(null), { self: undefined as unknown })],
  ])('answers INVALID_CONTEXT to %s', (name, context) => {
    if (name === 'an object that contains itself') (context as { self: unknown }).self = context;
    const evaluator = evaluatorOf([flag]);
    expect(evaluator.evaluate('f', context, OPTIONS)).toEqual(INVALID);
    expect(evaluator.evaluateMany(['f', 'x'], context, OPTIONS)).toEqual([INVALID, { ...INVALID, flag: 'x' }]);
    expect(evaluator.evaluateAll(context, OPTIONS)).toEqual([INVALID]);
    expect(evaluator.evaluate('f', { plan: 'pro' }, OPTIONS)).toMatchObject({ variation: 'yes' });
  });

  it('answers INVALID_CONTEXT to a context that evaluates while it is read, and answers that evaluation', () => {
    const evaluator = evaluatorOf([flag]);
    const inner: Result[] = [];
    const get = (): string => {
      inner.push(evaluator.evaluate('f', { plan: 'free' }, OPTIONS));
      return 'pro';
    };
    expect(evaluator.evaluate('f', Object.defineProperty({}, 'plan', { get }), OPTIONS)).toEqual(INVALID);
    expect(inner.map((result) => 'variation' in result && result.variation)).toEqual(['no']);
  });

  it('reads own members only', () => {
    class Person {
      readonly name = 'n';
      get plan(): string {
        return 'pro';
      }
    }
    expect(ask([flag], new Person())).toMatchObject({ variation: 'no' });
    expect(ask([flag], Object.create({ plan: 'pro' }))).toMatchObject({ variation: 'no' });
    expect(ask([flag], Object.assign(Object.create(null), { plan: 'pro' }))).toMatchObject({ variation: 'yes' });
    expect(ask([flag], Object.create({ kind: '' }))).toMatchObject({ variation: 'no' });
  });

  it('counts own members only, at any depth', () => {
    const wide = Object.fromEntries(
      Array.from({ length: LIMITS.contextAttributes - 1 }, (_, index) => [`m${index}`, 0]),
    );
    const inherited = Object.create({ a: 1, b: 2, c: 3 }) as object;
    expect(ask([flag], { plan: 'pro', ...wide })).toMatchObject({ variation: 'yes' });
    expect(ask([flag], { plan: 'pro', ...wide, one: 1 })).toEqual(INVALID);
    expect(ask([flag], Object.assign(inherited, { plan: 'pro' }, wide))).toMatchObject({ variation: 'yes' });
    const { m0: _, ...fewer } = wide;
    expect(ask([flag], { plan: 'pro', ...fewer, list: [[{}]] })).toMatchObject({ variation: 'yes' });
    expect(ask([flag], { plan: 'pro', ...fewer, list: [[{ one: 1 }]] })).toEqual(INVALID);
  });

  it('bounds the elements of a context, so that lists that share their elements end', () => {
    expect(ask([flag], { plan: 'pro', list: new Array(LIMITS.contextBytes).fill(0) })).toMatchObject({
      variation: 'yes',
    });
    expect(ask([flag], { plan: 'pro', list: new Array(LIMITS.contextBytes + 1).fill(0) })).toEqual(INVALID);
    let shared: unknown = 0;
    for (let depth = 2; depth <= LIMITS.contextDepth; depth++) shared = new Array(100).fill(shared);
    expect(ask([flag], { plan: 'pro', list: shared })).toEqual(INVALID);
  });
});

describe('InProcessEvaluator', () => {
  it('gives the same frozen result for the same answer and leaves definitions as they are', () => {
    const value = { list: [{ deep: 1 }] };
    const variations = [
      { key: 'no', value },
      { key: 'off', value: null },
    ];
    const evaluator = evaluatorOf([aFlag('f', { type: 'json', variations })]);
    const result = evaluator.evaluate('f', {}, OPTIONS);
    expect(result).toEqual({ flag: 'f', value, variation: 'no', reason: 'STATIC' });
    expect(evaluator.evaluate('f', { other: 1 }, OPTIONS)).toBe(result);
    expect(() => Object.assign(result, { value: 1 })).toThrow(TypeError);
    const served = 'value' in result ? (result.value as typeof value) : value;
    expect(() => served.list.push({ deep: 2 })).toThrow(TypeError);
    expect(() => Object.assign(served.list[0] ?? {}, { deep: 2 })).toThrow(TypeError);
    expect(Object.isFrozen(value)).toBe(false);
  });

  it('evaluateMany() answers in the order asked, a key asked twice twice', () => {
    const evaluator = evaluatorOf([aFlag('a'), aFlag('b', { on: false })]);
    expect(evaluator.evaluateMany(['b', 'x', 'a', 'b'], {}, OPTIONS).map(({ flag, reason }) => [flag, reason])).toEqual(
      [
        ['b', 'DISABLED'],
        ['x', 'ERROR'],
        ['a', 'STATIC'],
        ['b', 'DISABLED'],
      ],
    );
  });

  it('evaluateAll() sorts by key and leaves out what a client must not see', () => {
    const evaluator = evaluatorOf([aFlag('b', { clientSide: true }), aFlag('a'), aFlag('C', { clientSide: true })]);
    const keys = (clientSideOnly: boolean): string[] =>
      evaluator.evaluateAll({}, { ...OPTIONS, clientSideOnly }).map(({ flag }) => flag);
    expect(keys(false)).toEqual(['C', 'a', 'b']);
    expect(keys(true)).toEqual(['C', 'b']);
  });

  it('ends cycles of definitions that nobody checked', () => {
    const needing = (key: string, flag: string): FlagDefinition =>
      aFlag(key, { prerequisites: [{ flag, variations: ['no'] }] });
    expect(ask([needing('f', 'g'), needing('g', 'f')], {})).toMatchObject({ errorCode: 'PARSE_ERROR' });
    const inSegment = { rules: [{ id: 'r', when: { segment: ['s'] }, serve: { variation: 'yes' } }] };
    const own = aSegment('s', { rules: [{ when: { segment: ['s'] } }] });
    expect(ask([aFlag('f', inSegment), own], {})).toMatchObject({ errorCode: 'PARSE_ERROR' });
  });

  it('reads lone surrogates as U+FFFD where that can be seen: patterns, kinds that become one, definitions that name it', () => {
    const op = (clause: AttributeClause): FlagDefinition =>
      aFlag('f', { rules: [{ id: 'r', when: clause, serve: { variation: 'yes' } }] });
    const served = { variation: 'yes' };
    const pattern = op({ attribute: 'a', op: 'matches', values: ['^x\\x{FFFD}$'] });
    expect(ask([pattern], { a: 'x\ud800' })).toMatchObject(served);
    expect(ask([op({ attribute: 'a', op: 'in', values: ['x\ufffd'] })], { a: 'x\udc00' })).toMatchObject(served);
    expect(ask([op({ attribute: 'a\ufffd', op: 'in', values: [1] })], { 'a\ud800': 1 })).toMatchObject(served);
    // Ten clauses of 10 000 units each over one kind spend exactly the tank; over two they would not end.
    const clause: AttributeClause = { attribute: 'kind', op: 'lt', values: new Array(9_999).fill(1), negate: true };
    const rule = { id: 'r', when: { all: new Array(10).fill(clause) }, serve: { variation: 'yes' } };
    const kinds = { kind: 'multi', 'x\ud800': {}, 'x\udc00': {} };
    expect(ask([aFlag('f', { rules: [rule] })], kinds)).toMatchObject(served);
    expect(ask([aFlag('f', { rules: [rule] })], { ...kinds, y: {} })).toMatchObject({ errorCode: 'GENERAL' });
  });

  it('tells apart more values of one attribute than a mask has bits', () => {
    const flags = Array.from({ length: 40 }, (_, index) => aFlag(`f${index}`, when('n', index, `${index}`)));
    const evaluator = evaluatorOf([
      ...flags,
      aFlag('many', when('n', ...Array.from({ length: 35 }, (_, index) => index))),
    ]);
    for (let n = 0; n < 42; n++) {
      const served = evaluator.evaluateAll({ n }, OPTIONS).filter((result) => 'ruleId' in result);
      expect(served.map(({ flag }) => flag)).toEqual([...(n < 40 ? [`f${n}`] : []), ...(n < 35 ? ['many'] : [])]);
    }
    expect(evaluator.evaluateAll({ n: [50, '39'] }, OPTIONS).filter((result) => 'ruleId' in result)).toHaveLength(1);
  });
});

describe('InProcessEvaluator built upon a previous revision', () => {
  const listed = { rules: [{ id: 'r', when: { segment: ['s'] }, serve: { variation: 'yes' } }] };
  const variation = (evaluator: InProcessEvaluator, key: string, context: unknown): unknown => {
    const result = evaluator.evaluate(key, context, OPTIONS);
    return 'variation' in result ? result.variation : result.errorCode;
  };

  it('builds changed flags only', () => {
    const [kept, before, after] = [aFlag('kept'), aFlag('f'), aFlag('f', { on: false })];
    const first = evaluatorOf([kept, before]);
    const second = evaluatorOf([kept, after], first);
    // Results are made when a flag is built, so the same object means that it was not built again.
    expect(second.evaluate('kept', {}, OPTIONS)).toBe(first.evaluate('kept', {}, OPTIONS));
    expect(evaluatorOf([kept]).evaluate('kept', {}, OPTIONS)).not.toBe(first.evaluate('kept', {}, OPTIONS));
    expect([variation(first, 'f', {}), variation(second, 'f', {})]).toEqual(['no', 'off']);
    expect(variation(evaluatorOf([kept], second), 'f', {})).toBe('FLAG_NOT_FOUND');
  });

  it('lets flags that stayed see changed segments, lists and prerequisites, and the old revision the old ones', () => {
    const context = { targetingKey: 'user-1' };
    const flag = aFlag('f', listed);
    const asks = aFlag('asks', { prerequisites: [{ flag: 'f', variations: ['yes'] }] });
    const segment = aSegment('s');
    const revisions = [evaluatorOf([flag, asks, segment])];
    const add = (...definitions: Definition[]): void => {
      revisions.push(evaluatorOf([asks, ...definitions], revisions.at(-1)));
    };
    add(flag, segment, aChunk('s', 'included', ['user-1']));
    add(flag, segment, aChunk('s', 'included', ['user-2']));
    add(flag, aSegment('s', { rules: [{ when: { all: [] } }] }));
    add(flag);
    add();
    const seen = revisions.map((evaluator) => [
      variation(evaluator, 'f', context),
      variation(evaluator, 'asks', context),
    ]);
    expect(seen).toEqual([
      ['no', 'off'],
      ['yes', 'no'],
      ['no', 'off'],
      ['yes', 'no'],
      ['no', 'off'],
      ['FLAG_NOT_FOUND', 'off'],
    ]);
  });

  it('forgets attributes that nothing asks for any more', () => {
    let evaluator = evaluatorOf([aFlag('f', when('a', 'x'))]);
    let slotCountMax = 0;
    for (let revision = 0; revision < 5_000; revision++) {
      evaluator = evaluatorOf([aFlag('f', when(`a${revision}`, 'x'))], evaluator);
      slotCountMax = Math.max(slotCountMax, evaluator.slotCount);
    }
    expect(slotCountMax).toBeGreaterThan(500); // a few are kept, so that most revisions build one flag
    expect(slotCountMax).toBeLessThan(1_100);
    expect(variation(evaluator, 'f', { a4999: 'x' })).toBe('yes');
  });
});
