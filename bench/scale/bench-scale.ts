import { assertWrkIsThere } from '../http/generators.js';
import { findOption, isQuick } from '../support/arguments.js';
import { type EnvironmentsRow, measureEnvironments } from './many-environments.js';
import { type FlagsRow, measureFlags, measureSegment, type SegmentRow } from './one-environment.js';

/**
 * What size costs: environments (single evaluations of flags of kind W2 rotating over all of them), flags of one environment, keys of one
 * segment. Each size is a node of its own. `--quick` takes smaller sizes; `--only environments|flags|segments` one of the three.
 */
const SIZES = isQuick
  ? { environments: [1, 200], flags: [1, 500], segments: [10, 20_000] }
  : {
      environments: [1, 100, 10_000],
      flags: [1, 10, 100, 1_000, 5_000],
      segments: [10, 10_000, 1_000_000],
    };

assertWrkIsThere();
const only = findOption('only');
const sizesOf = (part: keyof typeof SIZES): readonly number[] =>
  only === undefined || only === part ? SIZES[part] : [];
const environments: EnvironmentsRow[] = [];
const flags: FlagsRow[] = [];
const segments: SegmentRow[] = [];
for (const count of sizesOf('environments')) {
  environments.push(await measureEnvironments(count));
  console.error(`measured ${count} environments`);
}
for (const count of sizesOf('flags')) {
  flags.push(await measureFlags(count));
  console.error(`measured ${count} flags`);
}
for (const count of sizesOf('segments')) {
  segments.push(await measureSegment(count));
  console.error(`measured ${count} keys`);
}
for (const rows of [environments, flags, segments]) if (rows.length > 0) console.table(rows);
console.log(JSON.stringify({ scale: [...environments, ...flags, ...segments] }));
