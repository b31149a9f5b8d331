/** A number from a node's metrics page: the sum over the series of that name; NaN when there is none. */
export async function readMetric(metricsUrl: string, name: string): Promise<number> {
  const page = await (await fetch(`${metricsUrl}/metrics`)).text();
  const lines = page.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  if (lines.length === 0) return Number.NaN;
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}
