import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isQuick } from '../support/arguments.js';
import { BenchProcess } from '../support/bench-process.js';
import { median, rounded } from '../support/statistics.js';
import { AdminConnection } from './admin-connection.js';
import { type BenchProject, createFlags, createMember, createProject, FlagWriter, flagKeyOf } from './bench-project.js';
import type { ControlPlaneReady } from './control-plane-process.js';
import { measureWrites, type WriteRate } from './measure-writes.js';
import { RawTransactions } from './raw-transactions.js';
import { measureVerification } from './verify-export.js';

/**
 * Acknowledged writes over the admin API: edits of a flag's rollout by a member of a tenant, each durable before it is answered, against a
 * control plane in its own process, beside raw LMDB transactions of three puts with the same durability on the same file system.
 * Rounds of all that is compared alternate, so that a busy machine is busy for all; what is told is the median of the rounds. `--quick` is smaller.
 */
const WIDTH = 16;
const FLAG_COUNTS = isQuick ? [10, 100, 300] : [10, 1_000, 5_000];
const TENANT_COUNT = isQuick ? 50 : 1_000;
const ROUND_COUNT = isQuick ? 2 : 7;
const ROUND_MS = isQuick ? 300 : 1_500;
const VERIFY_MS = isQuick ? 300 : 3_000;

interface ControlPlane {
  readonly process: BenchProcess<ControlPlaneReady>;
  readonly admins: readonly AdminConnection[];
}

interface Case {
  readonly name: string;
  readonly writers: readonly { write(): Promise<void> }[];
  readonly rounds: WriteRate[];
}

const folder = mkdtempSync(join(tmpdir(), 'guidon-bench-control-plane-'));
const controlPlanes: ControlPlane[] = [];
const raw = new RawTransactions(join(folder, 'raw'));

async function startControlPlane(name: string): Promise<ControlPlane> {
  const process = await BenchProcess.start<ControlPlaneReady>('control-plane/control-plane-process.js', [
    join(folder, name),
  ]);
  const { port, token } = process.ready;
  const admins = await Promise.all(Array.from({ length: WIDTH }, () => AdminConnection.open(port, token)));
  const started = { process, admins };
  controlPlanes.push(started);
  return started;
}

const firstOf = ({ admins: [admin] }: ControlPlane): AdminConnection => {
  if (admin === undefined) throw new Error('a control plane has connections');
  return admin;
};

/** A project with `flagCount` flags in each environment, and a writer of each place with a connection of its own. */
async function writersOf(
  controlPlane: ControlPlane,
  name: string,
  {
    flagCount,
    environmentCount,
    places,
  }: Readonly<Record<'flagCount' | 'environmentCount', number>> & {
    readonly places: readonly (readonly [environment: number, flag: number])[];
  },
): Promise<{ project: BenchProject; writers: FlagWriter[] }> {
  const admin = firstOf(controlPlane);
  const project = await createProject(admin, name, environmentCount);
  const flagKeys = Array.from({ length: flagCount }, (_, index) => flagKeyOf(index));
  await createFlags(controlPlane.admins, project, flagKeys);
  const token = await createMember(admin, project);
  const writers = places.map(async ([environment, flag]) => {
    const connection = await AdminConnection.open(controlPlane.process.ready.port, token);
    return new FlagWriter(connection, project, environment, flagKeyOf(flag));
  });
  return { project, writers: await Promise.all(writers) };
}

/** Rounds of every case in turn. */
async function measureCases<Name extends string>(
  writersByName: Readonly<Record<Name, Case['writers']>>,
): Promise<Record<Name, WriteRate>> {
  const cases: Case[] = Object.entries<Case['writers']>(writersByName).map(([name, writers]) => ({
    name,
    writers,
    rounds: [],
  }));
  // The first round of each is to warm up.
  for (let round = 0; round <= ROUND_COUNT; round += 1) {
    for (const { writers, rounds } of cases) {
      const rate = await measureWrites(writers, ROUND_MS);
      if (round > 0) rounds.push(rate);
    }
  }
  const medians = cases.map(({ name, rounds }) => {
    const of = (field: keyof WriteRate) => rounded(median(rounds.map((rate) => rate[field])), 2);
    return [name, { perSecond: Math.round(of('perSecond')), p50Ms: of('p50Ms'), p99Ms: of('p99Ms') }];
  });
  return Object.fromEntries(medians);
}

async function addTenants(controlPlane: ControlPlane): Promise<void> {
  const waiting = Array.from({ length: TENANT_COUNT - 1 }, (_, index) => index).values();
  const work = async (admin: AdminConnection) => {
    for (const index of waiting) {
      const project = await createProject(admin, `tenant-${index}`, 1);
      await createFlags([admin], project, [flagKeyOf(0)]);
      await createMember(admin, project);
    }
  };
  await Promise.all(controlPlane.admins.map(work));
}

async function exportLines({ process }: ControlPlane, { tenantPath }: BenchProject): Promise<string[]> {
  const { port, token } = process.ready;
  const url = `http://127.0.0.1:${port}/api/v1${tenantPath}/audit/export?format=ndjson`;
  const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
  if (!answer.ok) throw new Error(`the export answered ${answer.status}: ${await answer.text()}`);
  return (await answer.text()).split('\n').filter((line) => line !== '');
}

const slowest = (rates: readonly WriteRate[]): number => {
  const waits = rates.map(({ p50Ms }) => p50Ms);
  return rounded(Math.max(...waits) / Math.min(...waits), 2);
};

async function measure(): Promise<void> {
  const one = await startControlPlane('one');
  const indexes = Array.from({ length: WIDTH }, (_, index) => index);
  const alone = await writersOf(one, 'alone', { flagCount: 10, environmentCount: 1, places: [[0, 0]] });
  const rawWriters = indexes.map(() => raw);
  const narrow = await measureCases({ raw: [raw], alone: alone.writers });

  const apart = await writersOf(one, 'apart', {
    flagCount: 10,
    environmentCount: WIDTH,
    places: indexes.map((index) => [index, 0]),
  });
  const together = await writersOf(one, 'together', {
    flagCount: WIDTH,
    environmentCount: 1,
    places: indexes.map((index) => [0, index]),
  });
  const wide = await measureCases({ raw: rawWriters, apart: apart.writers, together: together.writers });
  console.table({
    'raw, 3 puts, alone': narrow.raw,
    'write, alone': narrow.alone,
    [`raw, 3 puts, ${WIDTH} wide`]: wide.raw,
    [`write, ${WIDTH} wide, an environment each`]: wide.apart,
    [`write, ${WIDTH} wide, one environment`]: wide.together,
  });

  const byFlags: Record<string, FlagWriter[]> = {};
  for (const flagCount of FLAG_COUNTS) {
    console.error(`filling: ${flagCount} flags`);
    const place = [0, Math.floor(flagCount / 2)] as const;
    const filled = await writersOf(one, `flags-${flagCount}`, { flagCount, environmentCount: 1, places: [place] });
    byFlags[`${flagCount} flags`] = filled.writers;
  }
  const flags = await measureCases(byFlags);
  console.table(flags);

  const many = await startControlPlane('many');
  console.error(`filling: ${TENANT_COUNT} tenants`);
  await addTenants(many);
  const among = await writersOf(many, 'among', { flagCount: 10, environmentCount: 1, places: [[0, 0]] });
  const tenants = await measureCases({ few: alone.writers, many: among.writers });
  console.table({ 'few tenants': tenants.few, [`${TENANT_COUNT} tenants`]: tenants.many });

  const lines = await exportLines(one, together.project);
  const auditVerifyPerSecond = Math.round(measureVerification(lines, VERIFY_MS));
  console.table({ verify: { entries: lines.length, bytes: lines.join('').length, perSecond: auditVerifyPerSecond } });

  // Of the two wide forms the slower one is what is promised.
  const concurrent = wide.apart.perSecond < wide.together.perSecond ? wide.apart : wide.together;
  const { perSecond, p99Ms } = narrow.alone;
  const writes = {
    single: { perSecond, p99Ms, rawPerSecond: narrow.raw.perSecond },
    concurrent16: { perSecond: concurrent.perSecond, p99Ms: concurrent.p99Ms },
  };
  const flatness = { flags: slowest(Object.values(flags)), tenants: slowest(Object.values(tenants)) };
  console.log(JSON.stringify({ writes, flatness, auditVerifyPerSecond }));
}

try {
  await measure();
} finally {
  for (const { process } of controlPlanes) await process.stop();
  await raw.close();
  rmSync(folder, { recursive: true, force: true });
}
