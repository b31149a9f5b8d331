import { setImmediate as nextTurn } from 'node:timers/promises';

/** One metric as the Prometheus page has it, as plain values that cross a process border. */
export interface MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** What the processes of one node make of it together: counters are always summed. */
  readonly join: 'sum' | 'max' | 'min';
  readonly samples: readonly MetricSample[];
}

export interface MetricSample {
  /** The family's name; of a histogram with `_bucket`, `_sum` or `_count`. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

const JOINS: Readonly<Record<MetricFamily['join'], (a: number, b: number) => number>> = {
  sum: (a, b) => a + b,
  max: Math.max,
  min: Math.min,
};

/** The families of several processes as those of one node: same names and labels become one sample. */
export function joinFamilies(pages: readonly (readonly MetricFamily[])[]): MetricFamily[] {
  const families = new Map<string, { family: MetricFamily; samples: Map<string, MetricSample> }>();
  for (const family of pages.flat()) {
    const joined = families.get(family.name) ?? { family, samples: new Map<string, MetricSample>() };
    families.set(family.name, joined);
    for (const sample of family.samples) {
      const key = lineOf(sample);
      const other = joined.samples.get(key);
      const value = other === undefined ? sample.value : JOINS[family.join](other.value, sample.value);
      joined.samples.set(key, { ...sample, value });
    }
  }
  return [...families.values()].map(({ family, samples }) => ({ ...family, samples: [...samples.values()] }));
}

/** Samples that are written down before requests have their turn again: a page may have some thousands. */
const SAMPLES_PER_TURN = 400;

/** Prometheus' text format, version 0.0.4. */
export async function renderFamilies(families: readonly MetricFamily[]): Promise<string> {
  const lines: string[] = [];
  let count = 0;
  for (const { name, help, type, samples } of families) {
    lines.push(`# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`, `# TYPE ${name} ${type}`);
    for (const sample of samples) {
      lines.push(`${lineOf(sample)} ${sample.value}`);
      count += 1;
      if (count % SAMPLES_PER_TURN === 0) await nextTurn();
    }
  }
  return `${lines.join('\n')}\n`;
}

/** Name and labels in one order, whatever order they were given in. */
function lineOf({ name, labels }: MetricSample): string {
  const names = Object.keys(labels);
  if (names.length === 0) return name;
  if (names.length > 1) names.sort();
  return `${name}{${names.map((label) => `${label}="${escapeLabel(labels[label] ?? '')}"`).join(',')}}`;
}

function escapeLabel(value: string): string {
  if (!/[\\"\n]/.test(value)) return value;
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

/** A family with one label at most. */
export function valuesFamily(
  name: string,
  help: string,
  options: {
    readonly type: 'counter' | 'gauge';
    readonly join?: MetricFamily['join'];
    readonly label?: string;
    readonly values: Iterable<readonly [label: string, value: number]>;
  },
): MetricFamily {
  const { type, join = 'sum', label, values } = options;
  const samples = [...values].map(([text, value]) => ({
    name,
    labels: label === undefined ? {} : { [label]: text },
    value,
  }));
  return { name, help, type, join, samples };
}
