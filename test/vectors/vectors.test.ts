import { readdirSync, readFileSync } from 'node:fs';
import { checkFlagSet, parseDefinition } from '@guidon/engine';
import { describe, expect, it } from 'vitest';
import { EVALUATORS } from '../support/evaluators.js';
import { flagSetOf } from '../support/flag-sets.js';
import { type VectorFile, withNumbers } from '../support/vectors.js';
import { TABLES } from './tables/index.js';
import { vectorText } from './vector-text.js';

const folder = new URL('.', import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith('.json'));

function readVectors(name: string): VectorFile {
  return JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as VectorFile;
}

describe.each(files)('%s', (name) => {
  const { flags, segments, segmentKeys, cases } = readVectors(name);
  const definitions = [...flags, ...segments, ...segmentKeys];

  it('holds definitions that a control plane would publish', () => {
    expect(definitions.map(parseDefinition).filter((parsed) => !parsed.ok)).toEqual([]);
    expect(checkFlagSet(flagSetOf(definitions))).toEqual([]);
    expect(new Set(flags.map((flag) => flag.key)).size).toBe(flags.length);
    expect(new Set(cases.map((vector) => vector.name)).size).toBe(cases.length);
  });

  describe.each(Object.entries(EVALUATORS))('%s', (_, evaluate) => {
    const flagSet = flagSetOf(
      definitions.map((definition) => {
        const parsed = parseDefinition(definition);
        return parsed.ok ? parsed.value : definition;
      }),
    );

    it.each(cases)('$name', async ({ flag, context, now = 0, clientSideOnly = false, expected }) => {
      expect(await evaluate(flagSet, flag, withNumbers(context), { now, clientSideOnly })).toEqual(expected);
    });
  });
});

it('has the files that the tables make: after an edit run write-vectors', () => {
  expect(files.sort()).toEqual(TABLES.map(({ file }) => `${file}.json`).sort());
  for (const table of TABLES) {
    const written = readFileSync(new URL(`${table.file}.json`, folder), 'utf8');
    expect(written === vectorText(table), `${table.file}.json is not what tables/ says`).toBe(true);
  }
});

it('has vectors for every reason, error code and optional member', () => {
  const cases = files.flatMap((name) => readVectors(name).cases);
  expect(cases.length).toBeGreaterThanOrEqual(600);
  const reasons = new Set(cases.map(({ expected }) => expected.reason));
  expect([...reasons].sort()).toEqual(['DEFAULT', 'DISABLED', 'ERROR', 'SPLIT', 'STATIC', 'TARGETING_MATCH']);
  const codes = new Set(cases.map(({ expected }) => ('errorCode' in expected ? expected.errorCode : '')));
  expect([...codes].sort()).toEqual([
    '',
    'FLAG_NOT_FOUND',
    'GENERAL',
    'INVALID_CONTEXT',
    'PARSE_ERROR',
    'TARGETING_KEY_MISSING',
  ]);
  for (const member of ['ruleId', 'prerequisite', 'inExperiment']) {
    expect(cases.some(({ expected }) => member in expected)).toBe(true);
  }
});
