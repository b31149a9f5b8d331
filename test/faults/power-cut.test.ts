import { copyFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { type TemporaryFolder, temporaryFolder } from '../support/guidon-process.js';
import { findFaults } from './check-installation.js';
import { shimEnvironment } from './fault-shim.js';
import { MINIATURE, runWriter, type WriterAnswer } from './miniature.js';
import { cutPower } from './power-cut.js';

const ROUNDS = process.env.GUIDON_DEEP === '1' ? 100 : 10;
const ROUNDS_PER_STORE = 10;
const ANSWERS_MAX = 150;

const folders: TemporaryFolder[] = [];
afterAll(() => {
  for (const folder of folders) folder.remove();
});
function newFolder(): string {
  const folder = temporaryFolder('power-cut');
  folders.push(folder);
  return folder.path;
}

/** None, any or all of what was written since the last sync may have reached the disk. */
const SURVIVALS: readonly (() => boolean)[] = [() => false, () => Math.random() < 0.5, () => true];

/** Writes under the shim, kills at a random moment, and leaves behind what a disk would hold; answers what was acknowledged. */
async function writeAndCut(directory: string, round: number, mode: 'honest' | 'unsynced'): Promise<WriterAnswer[]> {
  const image = join(directory, 'image');
  const dataFile = join(directory, 'store', 'data.mdb');
  if (existsSync(dataFile)) copyFileSync(dataFile, image);
  const answersMin = 1 + Math.floor(Math.random() * ANSWERS_MAX);
  let isSet = false;
  const run = await runWriter({
    directory,
    round,
    mode,
    environment: shimEnvironment({ image }),
    onAnswer: (kill, answerCount) => {
      if (isSet || answerCount < answersMin) return;
      isSet = true;
      setTimeout(kill, Math.random() * 20);
    },
  });
  expect([run.end, run.errors]).toEqual(['killed', '']);
  cutPower(join(directory, 'store'), image, SURVIVALS[round % SURVIVALS.length] ?? (() => false));
  return [...run.answers];
}

test(
  `${ROUNDS} power cuts under write load: what was acknowledged is there (I1, M1)`,
  async () => {
    let answers: WriterAnswer[] = [];
    let directory = '';
    for (let round = 0; round < ROUNDS; round += 1) {
      if (round % ROUNDS_PER_STORE === 0) {
        answers = [];
        directory = newFolder();
      }
      answers.push(...(await writeAndCut(directory, round, 'honest')));
      expect(await findFaults(directory, MINIATURE, answers), `round ${round}`).toEqual([]);
    }
    expect(answers.length).toBeGreaterThan(16);
  },
  ROUNDS * 10_000,
);

test('a store that does not sync is found out', async () => {
  const directory = newFolder();
  // It was sound once, so that there is something that survives.
  await writeAndCut(directory, 0, 'honest');
  const answers = await writeAndCut(directory, 3, 'unsynced');
  const faults = await findFaults(directory, MINIATURE, answers);
  expect(faults.join('\n')).toMatch(/acknowledged as revision \d+, is undefined/);
}, 60_000);
