import fc from 'fast-check';

/** Small pools, so that what flags ask for and what contexts hold meet often. */
export const ATTRIBUTES = [
  'targetingKey',
  'email',
  'country',
  'plan',
  'age',
  'version',
  'ip',
  'when',
  'tags',
  'address',
  'beta',
  'a/b',
  'm~n',
  '',
  '0',
  'ключ',
  '__proto__',
  'constructor',
  '@now',
  'kind',
] as const;

export const PATHS = [
  ...ATTRIBUTES.filter((name) => name !== '' && name !== '@now'),
  '/targetingKey',
  '/kind',
  '/kind/0',
  '/address/city',
  '/address/0',
  '/address/city/0',
  '/address/deep/deep',
  '/tags/0',
  '/tags/1',
  '/tags/-',
  '/tags/01',
  '/a~1b',
  '/m~0n',
  '/',
  '/__proto__',
  '/__proto__/x',
  '/address/constructor',
  '/@now',
] as const;

export const KINDS = ['user', 'organization', 'device', 'multi', '__proto__', 'ключ'] as const;

export const TEXTS = [
  '',
  'a',
  'de',
  'US',
  'us',
  'pro',
  'user-1',
  'user-2',
  'admin-7',
  'admin-7@example.com',
  'Straße',
  'STRASSE',
  'straſſe',
  '\u212Aelvin',
  'kelvin',
  'İstanbul',
  'Ⱥⱥ',
  'ﬀ',
  'é',
  'e\u0301',
  '漢字',
  '🌍🌏',
  'x'.repeat(40),
  `${'ab'.repeat(30)}c`,
  `${'ab'.repeat(30)}d`,
  `${'ab'.repeat(35)}c`,
  'Āāă',
  'ĀāĂ',
  'āĀă',
  '42',
  'a\0b',
] as const;

export const VERSIONS = [
  '1',
  '1.2',
  '1.2.3',
  '1.2.3-alpha',
  '1.2.3-alpha.1',
  '1.2.3-alpha.beta',
  '1.2.3-1',
  '1.2.3-10',
  '1.2.3+build',
  '0.0.0',
  '2097151.2097152.0',
  '2097151.2097151.2097151',
  '18446744073709551616.0.1',
  '2.0.0-rc.1+x-y',
] as const;

export const ADDRESSES = [
  '10.0.0.1',
  '10.1.0.255',
  '192.168.1.1',
  '192.169.255.255',
  '192.170.0.0',
  '11.0.0.0',
  '2001:db8:7fff::',
  '2001:db8:8000::',
  'febf::1',
  'fec0::1',
  '::1',
  '::ffff:10.0.0.1',
  '2001:db8::1',
  'fe80::',
  '1:2:3:4:5:6:7:8',
] as const;

export const INSTANTS = [
  '2024-02-29T12:00:00Z',
  '2024-02-29t13:00:00.9999+01:00',
  '1969-12-31T23:59:59.999z',
  '0000-01-01T00:00:00Z',
  '9999-12-31T23:59:59-23:59',
] as const;

/** What looks like one of the above and is not. */
const BROKEN_TEXTS = [
  'v1.2.3',
  '01.2.3',
  '1.2.3-',
  '1.2.3-01',
  '1.2.3.4',
  '1..2',
  '10.0.0.256',
  '10.0.0.01',
  ':::',
  '1::2::3',
  '::1%eth0',
  '2023-02-29T12:00:00Z',
  '2024-02-29T24:00:00Z',
  '2024-02-29 12:00:00Z',
  '2024-02-29T12:00:00',
  '1709208000000',
] as const;

export const NUMBERS = [
  0,
  -0,
  1,
  -1,
  1.5,
  18,
  -33,
  127,
  128,
  -128,
  -129,
  255,
  256,
  65_535,
  65_536,
  -32_768,
  -32_769,
  4_294_967_295,
  4_294_967_296,
  1_709_208_000_000,
  1_709_208_000_000.5,
  2 ** 53 - 1,
  -(2 ** 53 - 1),
  2 ** 53,
  1e300,
  5e-324,
] as const;

export const text = fc.oneof(
  { arbitrary: fc.constantFrom(...TEXTS, ...VERSIONS, ...ADDRESSES, ...INSTANTS, ...BROKEN_TEXTS), weight: 20 },
  { arbitrary: fc.string({ unit: 'binary', maxLength: 12 }), weight: 2 },
  { arbitrary: fc.string({ unit: 'grapheme', maxLength: 12 }), weight: 1 },
  { arbitrary: fc.constant('é'.repeat(700)), weight: 1 },
);

const number = fc.oneof(
  { arbitrary: fc.constantFrom(...NUMBERS), weight: 10 },
  { arbitrary: fc.double(), weight: 1 },
  { arbitrary: fc.constantFrom(Number.NaN, Infinity, -Infinity), weight: 1 },
);

const scalar = fc.oneof(
  { arbitrary: text, weight: 8 },
  { arbitrary: number, weight: 4 },
  { arbitrary: fc.boolean(), weight: 2 },
  { arbitrary: fc.constant(null), weight: 1 },
);

/** Objects are made with own members only, whatever their names. */
function objectOf(names: readonly string[], value: fc.Arbitrary<unknown>, maxLength: number): fc.Arbitrary<object> {
  return fc
    .uniqueArray(fc.tuple(fc.constantFrom(...names), value), { maxLength, selector: ([name]) => name })
    .map((entries) => Object.fromEntries(entries));
}

const LONG_ARRAY: readonly number[] = Array.from({ length: 200 }, (_, index) => index % 7);

const nested = fc.oneof(
  { arbitrary: fc.array(scalar, { maxLength: 4 }), weight: 4 },
  { arbitrary: fc.array(fc.array(scalar, { maxLength: 2 }), { maxLength: 2 }), weight: 1 },
  { arbitrary: fc.constant(LONG_ARRAY), weight: 1 },
  {
    arbitrary: objectOf(
      ['city', '0', 'deep', 'constructor', 'x'],
      fc.oneof(scalar, fc.array(scalar, { maxLength: 2 })),
      4,
    ),
    weight: 3,
  },
  {
    arbitrary: objectOf(['city', 'deep'], objectOf(['deep', '0', 'x'], scalar, 3), 2),
    weight: 1,
  },
);

const value = fc.oneof({ arbitrary: scalar, weight: 6 }, { arbitrary: nested, weight: 1 });

const targetingKey = fc.oneof(
  { arbitrary: fc.constantFrom<unknown>('user-1', 'user-2', 'user-3', 'admin-7', 'ключ', '漢字'), weight: 8 },
  { arbitrary: fc.constantFrom<unknown>('', null, 42, -7, 1.5, true, 2 ** 53 - 1, 2 ** 53), weight: 2 },
);

/** Members that one kind may have; `kind` only by chance, as a hostile one. */
const kindObject = fc
  .tuple(
    fc.option(targetingKey, { freq: 8, nil: undefined }),
    objectOf(
      ATTRIBUTES.filter((name) => name !== 'kind'),
      value,
      9,
    ),
  )
  .map(([key, members]) => (key === undefined ? members : { ...members, targetingKey: key }));

const multi = fc
  .tuple(
    fc.uniqueArray(
      fc.tuple(
        fc.constantFrom<string>(...KINDS),
        fc.oneof({ arbitrary: kindObject, weight: 6 }, { arbitrary: scalar, weight: 1 }),
      ),
      {
        maxLength: 4,
        selector: ([name]) => name,
      },
    ),
    fc.boolean(),
  )
  .map(([kinds, isFirst]) => {
    const entries = kinds.filter(([name]) => name !== 'kind');
    return Object.fromEntries(isFirst ? [['kind', 'multi'], ...entries] : [...entries, ['kind', 'multi']]);
  });

const hostile: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(null, 'user-1', 7, true, [], [{ targetingKey: 'user-1' }], {}),
  kindObject.map((object) => ({ ...object, kind: '' })),
  kindObject.map((object) => ({ kind: 3, ...object })),
  kindObject.map((object) => ({ ...object, kind: { user: {} } })),
  fc.constantFrom(16, 17, 30).map((depth) => nest(depth)),
  fc.constantFrom(510, 511, 512, 600).map((count) => wide(count)),
  fc.constantFrom(32_000, 40_000).map((length) => ({ targetingKey: 'user-1', email: 'x'.repeat(length) })),
);

function nest(depth: number): unknown {
  let inner: unknown = 1;
  for (let level = 1; level < depth; level += 1) inner = level % 2 === 0 ? [inner] : { deep: inner };
  return { targetingKey: 'user-1', address: inner };
}

function wide(count: number): unknown {
  const members = Array.from({ length: count }, (_, index) => [`m${index}`, index] as const);
  return { ...Object.fromEntries(members), targetingKey: 'user-2' };
}

/** A context as it would be decoded: mostly good ones of one kind or several, some that must be refused. */
export const context: fc.Arbitrary<unknown> = fc.oneof(
  { arbitrary: kindObject, weight: 8 },
  {
    arbitrary: fc
      .tuple(kindObject, fc.constantFrom<unknown>(...KINDS, null))
      .map(([object, kind]) => ({ kind, ...object })),
    weight: 2,
  },
  {
    arbitrary: fc.tuple(kindObject, fc.constantFrom(...KINDS)).map(([object, kind]) => ({ ...object, kind })),
    weight: 2,
  },
  { arbitrary: multi, weight: 4 },
  { arbitrary: kindObject.map((object) => ({ ...object, tags: LONG_ARRAY })), weight: 1 },
  { arbitrary: hostile, weight: 1 },
);
