import { PlatformError } from '@guidon/protocol';
import { clientOf, itemsOf, type ProjectOptions, projectPath } from '../options/control-plane-options.js';
import { printableText, printTable } from '../options/print-table.js';

export interface FlagsUsageOptions extends ProjectOptions {
  readonly environment: string;
  readonly output: 'table' | 'json';
}

/** `guidon flags usage`: every flag that was evaluated, or one by variation over the last day. Resolves with the exit status. */
export async function runFlagsUsage(flag: string | undefined, options: FlagsUsageOptions): Promise<number> {
  if (flag === undefined) await printFlags(options);
  else await printFlag(flag, options);
  return 0;
}

function environmentPath(options: FlagsUsageOptions): string {
  return `${projectPath(options)}/environments/${encodeURIComponent(options.environment)}`;
}

async function printFlags(options: FlagsUsageOptions): Promise<void> {
  const client = clientOf(options);
  const flags: Record<string, unknown>[] = [];
  for await (const item of itemsOf(client, `${environmentPath(options)}/flag-usage`)) {
    flags.push(Object.fromEntries(item));
  }
  const unknown = (await client.get(`${environmentPath(options)}/unknown-flags`)).items();
  if (options.output === 'json') {
    console.log(JSON.stringify({ flags, unknownFlags: unknown.map((item) => Object.fromEntries(item)) }, null, 2));
    return;
  }
  printTable([
    ['FLAG', 'LAST EVALUATED', 'EVALUATIONS', 'ERRORS', 'EXPOSURES'],
    ...flags.map(({ flag, lastEvaluatedAt, evaluations, errors, exposures }) =>
      [flag, timeOf(lastEvaluatedAt), evaluations, errors, exposures].map(String),
    ),
  ]);
  if (unknown.length === 0) return;
  console.log('\nasked for, but not there:');
  for (const item of unknown) {
    console.log(`  ${printableText(JSON.stringify(item.get('flag')))}, ${String(item.get('count'))} times`);
  }
}

async function printFlag(flag: string, options: FlagsUsageOptions): Promise<void> {
  const path = `${environmentPath(options)}/flags/${encodeURIComponent(flag)}/usage`;
  const answer = await clientOf(options).get(path);
  if (options.output === 'json') {
    console.log(JSON.stringify(Object.fromEntries(answer.members), null, 2));
    return;
  }
  const total = answer.members.get('total');
  if (typeof total !== 'object' || total === null) {
    throw new PlatformError('internal', 'the admin API’s answer has no total');
  }
  console.log(`${flag}, last evaluated ${timeOf(answer.members.get('lastEvaluatedAt'))}; in the last 24 hours:\n`);
  const rows = ['evaluations', 'errors', 'exposures'].flatMap((what) =>
    Object.entries(Object(Reflect.get(total, what))).map(([name, count]) => [what, name, String(count)]),
  );
  printTable([['WHAT', 'VARIATION OR ERROR', 'COUNT'], ...rows]);
}

function timeOf(at: unknown): string {
  return typeof at === 'number' ? new Date(at).toISOString() : 'never';
}
