import { parseTargetingKeys } from '@guidon/engine';
import { type Issue, PlatformError } from '@guidon/protocol';

/** What one part of an upload may hold: with less than this, a key would take no byte at all. */
export const KEYS_PER_PART_MAX = 350_000;

/**
 * The keys of one uploaded part: NDJSON, so one JSON string a line, in UTF-8. The last line may end without a newline, no other
 * line is empty. A part is taken whole or refused whole; pointers are line indexes (`/0` is the first line).
 */
export function parseKeyLines(bytes: Uint8Array): string[] {
  const lines = decodeText(bytes).split('\n');
  if (lines[lines.length - 1]?.trim() === '') lines.pop();
  if (lines.length > KEYS_PER_PART_MAX) {
    throw new PlatformError('limit-exceeded', `a part has at most ${KEYS_PER_PART_MAX} lines`);
  }
  const values: unknown[] = [];
  const issues: Issue[] = [];
  for (const [index, line] of lines.entries()) {
    const value = parseLine(line);
    if (typeof value === 'string') values.push(value);
    else if (issues.length < LINE_ISSUES_MAX) {
      issues.push({ pointer: `/${index}`, code: 'validation-failed', detail: 'each line must be one JSON string' });
    }
  }
  if (issues.length > 0) throw refusal(issues);
  const parsed = parseTargetingKeys(values);
  if (!parsed.ok) throw refusal(parsed.issues);
  return parsed.value;
}

const LINE_ISSUES_MAX = 100;

function refusal(issues: readonly Issue[]): PlatformError {
  const code = issues[0]?.code ?? 'validation-failed';
  return new PlatformError(code, 'the part holds lines that are no targeting keys', { issues });
}

function decodeText(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new PlatformError('malformed-body', 'the part is not UTF-8', { cause });
  }
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
