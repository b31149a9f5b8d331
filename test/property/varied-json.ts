/**
 * Writes a value as JSON in one of the many ways a client may: `choose(n)` picks below n. Blanks, escapes, other forms of numbers; now
 * and then a name twice.
 */
export function writeVariedJson(value: unknown, choose: (count: number) => number): string {
  const blank = (): string => ['', '', '', '', ' ', '\n', '\t\r\n  '][choose(7)] ?? '';
  if (typeof value === 'string') return textOf(value, choose);
  if (typeof value === 'number') return numberOf(value, choose);
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  if (Array.isArray(value)) {
    return `[${blank()}${value.map((element) => writeVariedJson(element, choose) + blank()).join(`,${blank()}`)}]`;
  }
  const entries = Object.entries(value);
  const [first] = entries;
  if (first !== undefined && choose(200) === 0) entries.push(first);
  const members = entries.map(
    ([name, member]) => `${textOf(name, choose)}${blank()}:${blank()}${writeVariedJson(member, choose)}${blank()}`,
  );
  return `{${blank()}${members.join(`,${blank()}`)}}`;
}

function textOf(text: string, choose: (count: number) => number): string {
  if (choose(3) !== 0) return JSON.stringify(text);
  const units = Array.from({ length: text.length }, (_, index) => text.charCodeAt(index));
  const escapes = units.map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`);
  if (choose(2) === 0) return `"${escapes.join('')}"`;
  // Letters only: a quote or a half of a surrogate pair cannot stand for itself.
  const written = escapes.map((escaped, index) => {
    const unit = units[index] ?? 0;
    return unit > 0x5c && unit < 0x80 && choose(2) === 0 ? text[index] : escaped;
  });
  return `"${written.join('')}"`;
}

function numberOf(value: number, choose: (count: number) => number): string {
  const forms = [
    String(value),
    `${value}e0`,
    `${value}E+00`,
    value.toExponential(20),
    value.toPrecision(21),
    `${value * 10}e-1`,
  ];
  const form = choose(4) === 0 ? (forms[choose(forms.length)] ?? '') : String(value);
  return /e.*e/i.test(form) ? String(value) : form;
}
