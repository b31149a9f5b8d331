import {
  type CompiledEnvironment,
  compileSnapshot,
  type Definition,
  decodeDefinition,
  type FlagDefinition,
} from '@guidon/engine';
import { type Issue, LIMITS } from '@guidon/protocol';
import { hashDefinition } from '@guidon/protocol/signed-config';
import { applyChange } from './apply-change.js';
import type { CompileRequest, TryAnswer } from './compile-task.js';
import { compileWhole } from './compile-whole.js';
import type { SmokeKernel } from './smoke-evaluation.js';
import { NEIGHBOURS_MAX, TrialLine } from './trial-line.js';
import type { TrialLines } from './trial-lines.js';

/** A line with more flags put since its anchor starts anew from a compile of the whole. */
const REPLACED_MAX = 500;

interface Tools {
  readonly lines: TrialLines;
  readonly kernel: SmokeKernel;
}

/**
 * Finds out whether `compile` would take a change. One that only puts flags is tried with its neighbours: they are parsed, checked, compiled,
 * verified, loaded into the kernel and evaluated as a snapshot of their own. All else stays as it passed before: the bytes of its
 * blocks is the same, and the tables of the root are made of the same names or known to have room for a flag more. Everything that this does not hold for is tried in the whole.
 */
export async function tryChange(
  { lines, kernel }: Tools,
  request: Omit<CompileRequest, 'changed'>,
  changed: readonly Uint8Array[],
): Promise<TryAnswer> {
  const { environment, base, removed } = request;
  const line = base === undefined ? undefined : lines.find(environment, base);
  if (base !== undefined && line === undefined) return { status: 'needs-all' };
  const mayBeSmall = changed.length <= NEIGHBOURS_MAX && removed.length === 0;
  if (line !== undefined && mayBeSmall && line.replacedCount < REPLACED_MAX) {
    const { definitions, issues } = parseAll(changed);
    if (issues.length > 0) return { status: 'refused', issues };
    const flags = flagsIn(definitions);
    const answer = flags && (await tryNeighbours(line, kernel, request, { flags, changed }));
    if (answer !== undefined) return answer;
  }
  return tryWhole({ lines, kernel }, request, line, changed);
}

function parseAll(changed: readonly Uint8Array[]): { definitions: Definition[]; issues: Issue[] } {
  const definitions: Definition[] = [];
  const issues: Issue[] = [];
  for (const [index, bytes] of changed.entries()) {
    const parsed = decodeDefinition(bytes);
    if (parsed.ok) definitions.push(parsed.value);
    else issues.push(...parsed.issues.map((issue) => ({ ...issue, pointer: `/changed/${index}${issue.pointer}` })));
  }
  return { definitions, issues };
}

/** The definitions as flags, each with another key; undefined when they are something else too. */
function flagsIn(definitions: readonly Definition[]): FlagDefinition[] | undefined {
  const flags = definitions.filter((definition) => definition.kind === 'flag');
  return new Set(flags.map(({ key }) => key)).size === definitions.length ? flags : undefined;
}

/** Undefined when only the whole can tell. */
async function tryNeighbours(
  line: TrialLine,
  kernel: SmokeKernel,
  { environment, revision, expectedDigest }: Omit<CompileRequest, 'changed'>,
  { flags, changed }: { readonly flags: readonly FlagDefinition[]; readonly changed: readonly Uint8Array[] },
): Promise<TryAnswer | undefined> {
  const neighbours = line.neighboursOf(flags);
  if (neighbours === undefined) return undefined;
  const { compiled, issues } = compileSnapshot(neighbours, { environment, revision, interner: line.interner });
  if (compiled === undefined) return { status: 'refused', issues };
  // Far from the bound the sum of the blocks says enough; near it the bytes themselves have to.
  if (line.snapshotBytes + bytesOf(compiled) > LIMITS.snapshotBytes / 2) return undefined;
  const issue = await kernel.findIssue(compiled.snapshot, neighbours, { isKept: false });
  if (issue !== undefined) return { status: 'refused', issues: [issue] };
  const units = new Map(compiled.units.flags.map((unit) => [unit.definition.key, unit]));
  const base = line.digest;
  const isReplaced = line.replace(
    flags.flatMap((flag, index) => {
      const unit = units.get(flag.key);
      const bytes = changed[index];
      return unit === undefined || bytes === undefined ? [] : [{ flag, bytes, hash: hashDefinition(bytes), unit }];
    }),
  );
  if (!isReplaced) return undefined;
  if (expectedDigest === undefined || line.digest === expectedDigest) return { status: 'passed' };
  const { digest } = line;
  line.rewindTo(base);
  return { status: 'digest-mismatch', digest };
}

function bytesOf({ snapshot }: CompiledEnvironment): number {
  let bytes = snapshot.root.length;
  for (const block of snapshot.blocks.values()) bytes += block.length;
  return bytes;
}

async function tryWhole(
  { lines, kernel }: Tools,
  request: Omit<CompileRequest, 'changed'>,
  line: TrialLine | undefined,
  changed: readonly Uint8Array[],
): Promise<TryAnswer> {
  const { environment, removed, expectedDigest } = request;
  const from = line?.current();
  const applied = applyChange(from, changed, removed);
  if ('issues' in applied) return { status: 'refused', issues: applied.issues };
  const { digest } = applied.state;
  if (expectedDigest !== undefined && digest !== expectedDigest) return { status: 'digest-mismatch', digest };
  const { compiled, issues } = await compileWhole(kernel, request, applied.state, from);
  if (compiled === undefined) return { status: 'refused', issues };
  lines.put(environment, new TrialLine({ ...applied.state, compiled }, compiled), line);
  return { status: 'passed' };
}
