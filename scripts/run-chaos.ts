import { spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';

/** `npm run test:chaos -- [minutes] [seed]`: the chaos run of test/distribution/chaos.test.ts, longer than the test command does it. */
const MINUTES_DEFAULT = 60;
const MINUTES_MAX = 24 * 60;

const [minutesText = String(MINUTES_DEFAULT), seedText = String(randomInt(2 ** 31))] = process.argv.slice(2);
const minutes = Number(minutesText);
const seed = Number(seedText);
if (!(minutes > 0 && minutes <= MINUTES_MAX) || !Number.isSafeInteger(seed)) {
  console.error(`usage: npm run test:chaos -- [minutes, at most ${MINUTES_MAX}] [seed]`);
  process.exitCode = 64;
} else {
  console.log(`${minutes} minutes of chaos, seed ${seed}`);
  const vitest = [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--root',
    'test',
    '--dir',
    'test/distribution',
    'chaos.test',
  ];
  const env = { ...process.env, GUIDON_CHAOS_SECONDS: String(minutes * 60), GUIDON_CHAOS_SEED: seedText };
  process.exitCode = spawnSync(process.execPath, vitest, { stdio: 'inherit', env }).status ?? 1;
}
