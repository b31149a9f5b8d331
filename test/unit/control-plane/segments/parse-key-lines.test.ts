import { KEYS_PER_PART_MAX, parseKeyLines } from '@guidon/control-plane/segments/parse-key-lines.js';
import type { Issue } from '@guidon/protocol';
import { PlatformError } from '@guidon/protocol';
import { describe, expect, it } from 'vitest';

const parse = (text: string): string[] => parseKeyLines(Buffer.from(text, 'utf8'));

function refusalOf(text: string | Uint8Array): { code: string; issues: readonly Issue[] } {
  try {
    parseKeyLines(typeof text === 'string' ? Buffer.from(text, 'utf8') : text);
  } catch (error) {
    if (error instanceof PlatformError) return { code: error.code, issues: error.issues };
    throw error;
  }
  throw new Error('it was taken');
}

describe('parseKeyLines()', () => {
  const taken: [string, string[]][] = [
    ['', []],
    ['"a"', ['a']],
    ['"a"\n', ['a']],
    ['"a"\r\n"b"\r\n', ['a', 'b']],
    ['"a"\n"a"\n', ['a', 'a']],
    ['"é 漢 🌍"\n" "\n"\\u00e9\\n"\n', ['é 漢 🌍', ' ', 'é\n']],
    ['"__proto__"\n', ['__proto__']],
  ];
  it.each(taken)('takes %j', (text, keys) => {
    expect(parse(text)).toEqual(keys);
  });

  it('names every bad line by its index', () => {
    expect(refusalOf('\n').issues).toMatchObject([{ pointer: '/0' }]);
    const { code, issues } = refusalOf('"a"\n\nb\n7\nnull\n["c"]\n"d" "e"\n');
    expect(code).toBe('validation-failed');
    expect(issues.map(({ pointer }) => pointer)).toEqual(['/1', '/2', '/3', '/4', '/5', '/6']);
  });

  it('bounds issues, lines and bytes of a key', () => {
    expect(refusalOf('x\n'.repeat(5_000)).issues).toHaveLength(100);
    expect(refusalOf('""\n'.repeat(KEYS_PER_PART_MAX + 1)).code).toBe('limit-exceeded');
    expect(parse(`"${'é'.repeat(256)}"`)).toHaveLength(1);
    expect(refusalOf(`"${'é'.repeat(257)}"`).code).toBe('limit-exceeded');
  });

  it('refuses bytes that are not UTF-8', () => {
    expect(refusalOf(Buffer.from([0x22, 0xc3, 0x28, 0x22])).code).toBe('malformed-body');
  });
});
