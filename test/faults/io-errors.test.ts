import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { type TemporaryFolder, temporaryFolder } from '../support/guidon-process.js';
import { findFaults } from './check-installation.js';
import { type InjectedFault, isTracingPermitted, preloaded, traced } from './injected-fault.js';
import { MINIATURE, runWriter, type WriterAnswer } from './miniature.js';

/** Per kind of fault. */
const ROUNDS = process.env.GUIDON_DEEP === '1' ? 25 : 2;
const KINDS = [
  { call: 'sync', what: 'EIO' },
  { call: 'write', what: 'EIO' },
  { call: 'sync', what: 'ENOSPC' },
  { call: 'write', what: 'ENOSPC' },
] as const;
/** Opening takes a few calls; the others fall among the commits. */
const AT_MAX = 40;

if (!isTracingPermitted) console.log('ptrace is not permitted here: the preloaded shim injects every error instead.');

const folders: TemporaryFolder[] = [];
afterAll(() => {
  for (const folder of folders) folder.remove();
});
function newFolder(): string {
  const folder = temporaryFolder('io-error');
  folders.push(folder);
  return folder.path;
}

/** The next process, without a fault and without anybody's help: it writes again, and everything is as it was answered. */
async function expectRecovery(directory: string, before: readonly WriterAnswer[], round: number): Promise<void> {
  expect(await findFaults(directory, MINIATURE, before)).toEqual([]);
  const onAnswer = (kill: () => void, answerCount: number) => void (answerCount >= 32 && kill());
  const { answers } = await runWriter({ directory, round, onAnswer });
  expect(answers.filter(({ refused }) => refused === undefined).length).toBeGreaterThan(0);
  expect(await findFaults(directory, MINIATURE, [...before, ...answers])).toEqual([]);
}

const refusalsOf = (answers: readonly WriterAnswer[]): (string | undefined)[] =>
  answers.flatMap(({ refused }) => (refused === undefined ? [] : [refused]));

/** Runs into the fault. Errors on the way to the first answer end the process; later ones are answered first, then end it. */
async function meet(directory: string, round: number, fault: InjectedFault): Promise<WriterAnswer[]> {
  const means = isTracingPermitted && round % 2 === 0 ? traced(directory, fault) : preloaded(fault);
  const { answers, end, errors } = await runWriter({ directory, round, ...means });
  const label = JSON.stringify({ fault, end, errors });
  expect([...new Set(refusalsOf(answers))], label).not.toContainEqual(
    expect.not.stringMatching(/^(storage-unavailable|outcome-unknown)$/),
  );
  // Nothing is acknowledged after the first refusal: a failed commit is the last thing that this process tried.
  const firstRefusal = answers.findIndex(({ refused }) => refused !== undefined);
  if (firstRefusal >= 0) {
    expect([end, refusalsOf(answers).length], label).toEqual(['killed', answers.length - firstRefusal]);
  }
  // Met while the store was opened, by what no request waits for, or by lmdb while it makes its file, which it does not survive (M5).
  else expect(['exit 1', 'killed'], label).toContain(end);
  return [...answers];
}

test.each(KINDS)(
  '$call answers $what: 503 or unknown, nothing acknowledged lost, nothing refused visible, the next process goes on (I3, M2, M3)',
  async (kind) => {
    const directory = newFolder();
    const answers: WriterAnswer[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const fault = { ...kind, at: 1 + Math.floor(Math.random() * AT_MAX) };
      answers.push(...(await meet(directory, round, fault)));
      await expectRecovery(directory, answers, ROUNDS + round);
    }
  },
  ROUNDS * 20_000,
);

test.each(['EIO', 'ENOSPC'] as const)(
  'a first start that cannot even make its file (%s) spoils nothing',
  async (what) => {
    const directory = newFolder();
    for (let at = 1; at <= 4; at += 1) await meet(directory, 1, { call: 'write', what, at });
    await expectRecovery(directory, [], 5);
  },
  60_000,
);

test('a writer that takes a failed commit for done is found out', async () => {
  const directory = newFolder();
  const fault = preloaded({ call: 'sync', what: 'EIO', at: 8 });
  const { answers } = await runWriter({ directory, round: 0, mode: 'deaf', ...fault });
  expect((await findFaults(directory, MINIATURE, answers))[0]).toMatch(/acknowledged as revision \d+, is undefined/);
});

test('a sync that hangs: outcome-unknown, then the process ends itself (I3, M3)', async () => {
  const directory = newFolder();
  const answers = await meet(directory, 1, { call: 'sync', what: 'HANG', at: 8 });
  expect(refusalsOf(answers)).toContain('outcome-unknown');
  await expectRecovery(directory, answers, 2);
}, 60_000);

test('a file system that fills up: refused, and recovered once there is space (M4)', async () => {
  const directory = newFolder();
  const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'none', directory], { stdio: 'ignore' });
  if (mount.status !== 0) {
    console.log('mount is not permitted here: the preloaded shim says that the disk is full instead.');
    const answers = await meet(directory, 1, { call: 'write', what: 'ENOSPC', at: 60 });
    expect(refusalsOf(answers)).toContain('storage-unavailable');
    return expectRecovery(directory, answers, 2);
  }
  try {
    mkdirSync(join(directory, 'other'));
    writeFileSync(join(directory, 'other', 'ballast'), Buffer.alloc(2 << 20));
    const full = await runWriter({ directory, round: 0, freeBytesMin: 0 });
    expect([full.end, new Set(refusalsOf(full.answers))]).toEqual(['killed', new Set(['storage-unavailable'])]);
    // Started again while it is still full, with the floor of free space in force: it answers, and refuses every write.
    const still = await runWriter({ directory, round: 1 });
    expect(still.answers.filter(({ refused }) => refused !== 'storage-unavailable')).toEqual([]);
    rmSync(join(directory, 'other', 'ballast'));
    const answers = [...full.answers, ...still.answers];
    expect(await findFaults(directory, MINIATURE, answers)).toEqual([]);
    const onAnswer = (kill: () => void, answerCount: number) => void (answerCount >= 32 && kill());
    const after = await runWriter({ directory, round: 2, freeBytesMin: 0, onAnswer });
    expect(refusalsOf(after.answers)).toEqual([]);
    expect(await findFaults(directory, MINIATURE, [...answers, ...after.answers])).toEqual([]);
  } finally {
    spawnSync('umount', [directory]);
  }
}, 60_000);
