import { afterAll, expect, test } from 'vitest';
import { type TemporaryFolder, temporaryFolder } from '../support/guidon-process.js';
import { findFaults } from './check-installation.js';
import { MINIATURE, runWriter, type WriterAnswer, type WriterOptions } from './miniature.js';

const ROUNDS = process.env.GUIDON_DEEP === '1' ? 1_000 : 40;
/** Rounds on one store; then a new one, so that checking all of it stays quick. */
const ROUNDS_PER_STORE = 8;
/** Answers before the kill, at most. */
const ANSWERS_MAX = 150;
/** From that answer, or in every fourth round from the opened store, to the kill: some hundred commits' worth of moments. */
const DELAY_MS_MAX = 30;

const folders: TemporaryFolder[] = [];
afterAll(() => {
  for (const folder of folders) folder.remove();
});
function newFolder(): string {
  const folder = temporaryFolder('kill');
  folders.push(folder);
  return folder.path;
}

/** Every fourth round is killed right after it opened the store, the others under load, at a random moment. */
function killSometime(round: number): NonNullable<WriterOptions['onAnswer']> {
  const answersMin = round % 4 === 3 ? 0 : 1 + Math.floor(Math.random() * ANSWERS_MAX);
  let isSet = false;
  return (kill, answerCount) => {
    if (isSet || answerCount < answersMin) return;
    isSet = true;
    setTimeout(kill, Math.random() * DELAY_MS_MAX);
  };
}

test(
  `${ROUNDS} kills under write load: no acknowledged write is lost, none is half there (I1, I2, I4, I23, M6)`,
  async () => {
    let answers: WriterAnswer[] = [];
    let directory = '';
    let acknowledgedCount = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      if (round % ROUNDS_PER_STORE === 0) {
        answers = [];
        directory = newFolder();
      }
      const run = await runWriter({ directory, round, onAnswer: killSometime(round) });
      expect([run.end, run.errors]).toEqual(['killed', '']);
      answers.push(...run.answers);
      acknowledgedCount += run.answers.length;
      expect(await findFaults(directory, MINIATURE, answers), `round ${round}`).toEqual([]);
    }
    expect(acknowledgedCount).toBeGreaterThan(ROUNDS * 32);
  },
  ROUNDS * 10_000,
);

test('a writer that acknowledges before the commit is found out', async () => {
  const directory = newFolder();
  const faults: string[] = [];
  for (let round = 0; round < 10 && faults.length === 0; round += 1) {
    const { answers } = await runWriter({ directory, round, mode: 'early', onAnswer: killSometime(0) });
    faults.push(...(await findFaults(directory, MINIATURE, answers)));
  }
  expect(faults.join('\n')).toMatch(/acknowledged as revision \d+, is undefined/);
}, 60_000);
