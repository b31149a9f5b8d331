import assert from 'node:assert/strict';
import { type AttributeClause, compileSnapshot, decodeStrictMsgpack, encodeMsgpack, type Result } from '@guidon/engine';
import type { Json } from '@guidon/protocol';
import { describe, expect, it } from 'vitest';
import { aFlag, flagSetOf } from '../../support/flag-sets.js';
import { TEST_ENVIRONMENT, testHost } from '../../support/kernel-evaluator.js';

/** Which of the clauses hold in the kernel for each value of the attribute `x`. */
async function holdsOf(
  clauses: readonly Omit<AttributeClause, 'attribute'>[],
  values: readonly Json[],
): Promise<boolean[][]> {
  const flags = clauses.map((clause, index) =>
    aFlag(`flag-${String(index).padStart(5, '0')}`, {
      rules: [{ id: 'r', when: { attribute: 'x', ...clause }, serve: { variation: 'yes' } }],
    }),
  );
  const host = await testHost();
  const { compiled, issues } = compileSnapshot(flagSetOf(flags), { environment: TEST_ENVIRONMENT, revision: 1 });
  assert(compiled !== undefined, JSON.stringify(issues));
  const resident = await host.load(compiled.snapshot);
  const rows = values.map((x) => {
    const answer = host.evaluate(resident, encodeMsgpack({ context: { x } }), {
      route: 'evaluate',
      now: 0,
      clientSideOnly: false,
    });
    assert(answer.status === 'ok', JSON.stringify(answer));
    const decoded = decodeStrictMsgpack(answer.bytes);
    assert(decoded.ok, 'answers are well-formed');
    return (decoded.value as { results: Result[] }).results.map(
      (result) => 'variation' in result && result.variation === 'yes',
    );
  });
  host.release(resident);
  return rows;
}

/** Every Unicode scalar value, in texts that fit a context. */
function allTexts(): string[] {
  const texts: string[] = [];
  let text = '';
  for (let codePoint = 0; codePoint < 0x110000; codePoint += 1) {
    if (codePoint === 0xd800) codePoint = 0xe000;
    text += String.fromCodePoint(codePoint);
    if (codePoint % 6_000 === 5_999) {
      texts.push(text);
      text = '';
    }
  }
  return [...texts, text];
}

describe('the kernel folds', () => {
  it('every code point as the reference does', async () => {
    // The operand is folded by the compiler with the reference's table, the attribute by the kernel: all bytes must agree.
    for (const text of allTexts()) {
      const [[isSame] = []] = await holdsOf([{ op: 'startsWithIgnoreCase', values: [text] }], [text]);
      expect(isSame, `from U+${text.codePointAt(0)?.toString(16)}`).toBe(true);
    }
  });

  it('letters that differ only in case to the same, and neighbours to others', async () => {
    const pairs = ['Āā', 'Ăă', 'ŁŁ', 'ſs', 'Σς', 'ẞß', '\u212Ak', 'ΩΩ', 'Ꭰꭰ', '𐐀𐐨'];
    for (const pair of pairs) {
      const [upper = '', lower = ''] = Array.from(pair);
      const rows = await holdsOf(
        [
          { op: 'endsWithIgnoreCase', values: [upper] },
          { op: 'containsIgnoreCase', values: [lower] },
        ],
        [upper, lower, 'ā\u0308'],
      );
      expect(rows.slice(0, 2), pair).toEqual([
        [true, true],
        [true, true],
      ]);
    }
    expect(await holdsOf([{ op: 'startsWithIgnoreCase', values: ['Ă'] }], ['ā', 'Ā', 'ă'])).toEqual([
      [false],
      [false],
      [true],
    ]);
  });
});

describe('the kernel searches', () => {
  it('short and long needles as String.includes does', async () => {
    let state = 12_345;
    const choose = (count: number): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((state / 2 ** 32) * count);
    };
    // Two letters and much repetition: the inputs on which a wrong failure function shows.
    const word = (length: number): string => Array.from({ length }, () => 'ab'[choose(5) === 0 ? 1 : 0]).join('');
    const haystacks = [...Array.from({ length: 60 }, () => word(choose(200))), 'a'.repeat(200), 'ab'.repeat(100), ''];
    const cut = haystacks.filter((text) => text.length > 60).map((text) => text.slice(choose(20), 20 + choose(40)));
    const needles = [
      ...cut,
      ...cut.map((text) => `${text.slice(0, -1)}c`),
      'a'.repeat(17),
      `${'a'.repeat(40)}b`,
      'b',
      '',
      'ab'.repeat(20),
      `${'ab'.repeat(20)}b`,
    ];
    const rows = await holdsOf(
      needles.map((needle) => ({ op: 'contains', values: [needle] })),
      haystacks,
    );
    expect(rows).toEqual(haystacks.map((haystack) => needles.map((needle) => haystack.includes(needle))));
    expect(rows.flat().filter(Boolean).length).toBeGreaterThan(100);
  });
});

describe('the kernel compares addresses', () => {
  it('with every prefix of IPv4: the last bit counts, the next one does not', async () => {
    const base = 0b1010_1100_0101_1010_1111_0000_0011_1101;
    const text = (address: number): string => [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
    for (let bits = 0; bits <= 32; bits += 1) {
      const inside = bits === 32 ? base : base ^ (0x80000000 >>> bits);
      const outside = bits === 0 ? base : base ^ (0x80000000 >>> (bits - 1));
      const rows = await holdsOf(
        [{ op: 'cidr', values: [`${text(base)}/${bits}`] }],
        [text(base), text(inside), text(outside), '::'],
      );
      expect(rows, `/${bits}`).toEqual([[true], [true], [bits === 0], [false]]);
    }
  });

  it('with every prefix of IPv6', async () => {
    const base = 0x2001_0db8_85a3_1234_5678_8a2e_0370_7334n;
    const text = (address: bigint): string =>
      Array.from({ length: 8 }, (_, group) => ((address >> BigInt(112 - group * 16)) & 0xffffn).toString(16)).join(':');
    for (let bits = 0n; bits <= 128n; bits += 1n) {
      const inside = bits === 128n ? base : base ^ (1n << (127n - bits));
      const outside = bits === 0n ? base : base ^ (1n << (128n - bits));
      const rows = await holdsOf(
        [{ op: 'cidr', values: [`${text(base)}/${bits}`] }],
        [text(base), text(inside), text(outside), '172.90.240.61'],
      );
      expect(rows, `/${bits}`).toEqual([[true], [true], [bits === 0n], [false]]);
    }
  });
});

describe('the kernel compares with the one value that stands in a clause', () => {
  // Around the 7 and the 16 bytes that fit there, with what a shorter text may be taken for, also in an array and beside other types.
  const texts = ['', '\0', 'a', 'a\0', '\0a', 'ab', '7 bytes', '7 byte\0', 'bytes 8!', '€uro 7', '€uro 7b'];
  for (const length of [6, 7, 8, 15, 16, 17, 18]) {
    texts.push('x'.repeat(length), `${'x'.repeat(length - 1)}y`, `y${'x'.repeat(length - 1)}`);
  }
  const values: readonly Json[] = [...texts, 7, true, null, {}, ...texts.map((text) => ['no', 1, text])];
  const holds = (value: Json, matches: (text: string) => boolean): boolean => {
    const elements: readonly unknown[] = Array.isArray(value) ? value : [value];
    return elements.some((element) => typeof element === 'string' && matches(element));
  };

  it.each([
    ['in', (seen: string, text: string) => seen === text],
    ['startsWith', (seen: string, text: string) => seen.startsWith(text)],
    ['endsWith', (seen: string, text: string) => seen.endsWith(text)],
  ] as const)('%s with a string of any length', async (op, matches) => {
    const rows = await holdsOf(
      texts.map((text) => ({ op, values: [text] })),
      values,
    );
    expect(rows).toEqual(values.map((value) => texts.map((text) => holds(value, (seen) => matches(seen, text)))));
  });

  it('in with 1 to 17 short strings, the wanted one in each place', async () => {
    const short = Array.from(
      { length: 17 },
      (_, index) => `${'s'.repeat(index % 6)}${String.fromCharCode(97 + index)}`,
    );
    const sets = short.map((_, index) => short.slice(0, index + 1));
    const rows = await holdsOf(
      sets.map((set) => ({ op: 'in', values: set })),
      [...short, 'other', 'too long for it'],
    );
    const wanted = [...short, 'other', 'too long for it'].map((seen) => sets.map((set) => set.includes(seen)));
    expect(rows).toEqual(wanted);
  });

  it('negated: a missing attribute holds neither way, also when it was looked for before', async () => {
    const clauses = [
      { op: 'in', values: ['a'] },
      { op: 'in', values: ['a', 'b'] },
      { op: 'startsWith', values: ['a'] },
      { op: 'lt', values: [1] },
      { op: 'semverEq', values: ['1.0.0'] },
    ] as const;
    const rows = await holdsOf(
      clauses.flatMap(({ op, values: each }) => [false, true].map((negate) => ({ op, values: [...each], negate }))),
      [null, 'a', 'z', 0],
    );
    const none = [false, false];
    const [no, yes] = [
      [true, false],
      [false, true],
    ];
    expect(rows).toEqual(
      [
        [none, none, none, none, none],
        [no, no, no, yes, yes],
        [yes, yes, yes, yes, yes],
        [yes, yes, yes, no, yes],
      ].map((row) => row.flat()),
    );
  });

  it('numbers and versions, less, equal and greater', async () => {
    const numbers = [-1.5, -0, 0, 1, 2 ** 53, Number.MAX_VALUE];
    const numberRows = await holdsOf(
      (['lt', 'lte', 'gt', 'gte'] as const).flatMap((op) => numbers.map((number) => ({ op, values: [number] }))),
      [...numbers, '1', Number.NaN, Number.POSITIVE_INFINITY],
    );
    const order = (compare: (a: number, b: number) => boolean): ((seen: number) => boolean[]) => {
      return (seen) => numbers.map((number) => compare(seen, number));
    };
    const orders = [order((a, b) => a < b), order((a, b) => a <= b), order((a, b) => a > b), order((a, b) => a >= b)];
    const none = new Array<boolean>(numbers.length * 4).fill(false);
    expect(numberRows).toEqual([...numbers.map((seen) => orders.flatMap((row) => row(seen))), none, none, none]);

    // Ascending; the last ones do not fit into a word.
    const versions = ['1.0.0-rc.1', '1.0.0', '1.0.1', '1.10.0', '2.0.0', '2097151.0.0', '2097152.0.0'];
    const versionRows = await holdsOf(
      (['semverEq', 'semverLt', 'semverLte', 'semverGt', 'semverGte'] as const).flatMap((op) =>
        versions.map((version) => ({ op, values: [version] })),
      ),
      [...versions, '1', 'v1.0.0', 1],
    );
    const rowOf = (seen: number): boolean[] => [
      ...versions.map((_, index) => seen === index),
      ...versions.map((_, index) => seen < index),
      ...versions.map((_, index) => seen <= index),
      ...versions.map((_, index) => seen > index),
      ...versions.map((_, index) => seen >= index),
    ];
    const noVersion = new Array<boolean>(versions.length * 5).fill(false);
    expect(versionRows).toEqual([...versions.map((_, seen) => rowOf(seen)), rowOf(1), noVersion, noVersion]);
  });
});
