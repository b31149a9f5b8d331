import { joinFamilies, type MetricFamily, renderFamilies } from '@guidon/protocol/metrics';
import { describe, expect, it } from 'vitest';

const family = (
  join: MetricFamily['join'],
  ...samples: [labels: Record<string, string>, value: number][]
): MetricFamily => ({
  name: 'm',
  help: 'what it is',
  type: 'gauge',
  join,
  samples: samples.map(([labels, value]) => ({ name: 'm', labels, value })),
});

describe('joinFamilies()', () => {
  it.each([
    ['sum', 12],
    ['max', 7],
    ['min', 5],
  ] as const)('joins samples of the same labels by their %s', (join, value) => {
    const [joined] = joinFamilies([[family(join, [{ a: '1', b: '2' }, 5])], [family(join, [{ b: '2', a: '1' }, 7])]]);
    expect(joined?.samples.map((sample) => sample.value)).toEqual([value]);
  });

  it('keeps samples and families that only one page has', () => {
    const other: MetricFamily = { ...family('sum', [{}, 1]), name: 'other' };
    const joined = joinFamilies([[family('sum', [{ a: '1' }, 1])], [family('sum', [{ a: '2' }, 2]), other]]);
    expect(joined.map(({ name, samples }) => [name, samples.length])).toEqual([
      ['m', 2],
      ['other', 1],
    ]);
  });
});

describe('renderFamilies()', () => {
  it('writes one header per family, labels in order, and escapes what Prometheus gives a meaning', async () => {
    const histogram: MetricFamily = {
      name: 'h',
      help: 'a\\b\nc',
      type: 'histogram',
      join: 'sum',
      samples: [{ name: 'h_bucket', labels: { route: '/"x"\\\n', le: '0.5' }, value: 3 }],
    };
    expect(await renderFamilies([family('sum', [{}, 1.5]), histogram])).toBe(
      '# HELP m what it is\n# TYPE m gauge\nm 1.5\n' +
        '# HELP h a\\\\b\\nc\n# TYPE h histogram\nh_bucket{le="0.5",route="/\\"x\\"\\\\\\n"} 3\n',
    );
  });
});
