import type { Choose } from './valid-request.js';

const TOKENS = [
  '"',
  '\\',
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '0',
  '-',
  '.',
  'e',
  ' ',
  '\\u0',
  '\\ud800',
  'null',
  '1e400',
  '"a":',
  '\u0000',
  'é',
  '\ufeff',
];

/** Bytes of `text`, in two of five cases as they are, else cut, joined or with a token of JSON put in. */
export function mutatedText(text: string, choose: Choose): Buffer {
  const bytes = Buffer.from(text);
  const kind = choose(10);
  const at = choose(bytes.length + 1);
  if (kind < 4) return bytes;
  if (kind === 4) return bytes.subarray(0, at);
  if (kind === 5) return Buffer.concat([bytes.subarray(0, at), bytes.subarray(choose(bytes.length + 1))]);
  const token = Buffer.from(TOKENS[choose(TOKENS.length)] ?? '');
  if (kind < 8)
    return Buffer.concat([bytes.subarray(0, at), token, bytes.subarray(at + (kind === 6 ? token.length : 0))]);
  if (bytes.length > 0) bytes[choose(bytes.length)] = kind === 8 ? choose(256) : (bytes[choose(bytes.length)] ?? 0);
  return bytes;
}
