/** Picks a number below its argument. */
export type Choose = (count: number) => number;

const CONTEXTS: readonly unknown[] = [
  {
    targetingKey: 'user-1',
    email: 'é@example.com',
    tags: ['a', 1, null, [true]],
    address: { city: '漢', deep: { deep: [0.5] } },
  },
  { kind: 'multi', user: { targetingKey: 'user-2' }, organization: { targetingKey: 7, x: -1 } },
  Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`member-${index}`, index])),
  null,
];

/** Requests of every form, good ones and ones with a wrong member. */
export function validValue(choose: Choose, isBatch: boolean): unknown {
  const context = CONTEXTS[choose(CONTEXTS.length)];
  const extra =
    choose(12) === 0 ? { flagz: 1 } : choose(6) === 0 ? { minRevision: [1, 99, -1, 1.5, 'x', null][choose(6)] } : {};
  if (isBatch) {
    const entries: unknown[] = [
      { flag: 'a', context },
      { flag: 3, context },
      { flag: 'b' },
      'none',
      { context, flag: 'nowhere', more: 1 },
    ];
    const plain = (): unknown => ({
      flag: ['a', 'b', 'nowhere'][choose(3)],
      context: CONTEXTS[choose(CONTEXTS.length)],
    });
    const ending = choose(3) === 0 ? entries.slice(choose(entries.length)) : [];
    const requests = [...Array.from({ length: choose(4) }, plain), ...ending];
    return choose(2) === 0
      ? { requests, ...extra }
      : { contexts: CONTEXTS, flags: choose(5) === 0 ? ['a', 2] : ['a', 'b'], ...extra };
  }
  const forms: unknown[] = [
    { flags: 'a', context },
    { context, flags: ['a', 'nowhere', 'b'] },
    { context },
    { flags: ['a', 5], context },
    { flag_key: 'a', user_id: 'user-1', context },
    { flagKey: 'a', userId: 5 },
    { flagKey: 'a', flag_key: 'b', context },
    { flags: {}, context },
    { flags: 'a' },
    { user_id: null, context },
  ];
  const form = forms[choose(forms.length)];
  return { ...(form as object), ...extra };
}
