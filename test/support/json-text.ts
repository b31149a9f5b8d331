/** JSON of any value of a vector: 1e999 stands for infinity, as JSON.parse reads it. Undefined: NaN, which JSON cannot say. */
export function jsonTextOf(value: unknown): string | undefined {
  if (typeof value === 'number') {
    if (Number.isNaN(value)) return undefined;
    if (Object.is(value, -0)) return '-0';
    return Number.isFinite(value) ? String(value) : `${value < 0 ? '-' : ''}1e999`;
  }
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const parts = Object.entries(value).map(([name, member]) => {
    const text = jsonTextOf(member);
    return text === undefined || Array.isArray(value) ? text : `${JSON.stringify(name)}:${text}`;
  });
  if (parts.includes(undefined)) return undefined;
  return Array.isArray(value) ? `[${parts.join(',')}]` : `{${parts.join(',')}}`;
}
