import { type FlagSet, ReferenceEvaluation, type Result } from '@guidon/engine';

type Members = Readonly<Record<string, unknown>>;

/** What the protocol answers to a decoded body that nothing is wrong with (expected-refusal.ts), by the reference evaluator. */
export function referenceAnswer(flagSet: FlagSet, body: unknown, revision: number): unknown {
  const members = body as Members;
  if (Array.isArray(members.requests)) {
    return { revision, results: members.requests.map((entry: unknown) => entryResult(flagSet, entry)) };
  }
  if (Array.isArray(members.contexts)) {
    const flags = members.flags as readonly string[];
    const results = members.contexts.flatMap((context: unknown) => evaluateAll(flagSet, context, flags));
    return { revision, results };
  }
  const context = contextOf(members);
  const flags = members.flags ?? members.flag_key ?? members.flagKey;
  if (typeof flags === 'string') return { revision, ...evaluateAll(flagSet, context, [flags])[0] };
  if (flags === undefined) {
    return { revision, results: new ReferenceEvaluation(flagSet, context, { now: 0 }).evaluateAllVisible() };
  }
  return { revision, results: evaluateAll(flagSet, context, flags as readonly string[]) };
}

function evaluateAll(flagSet: FlagSet, context: unknown, flags: readonly string[]): Result[] {
  const evaluation = new ReferenceEvaluation(flagSet, context, { now: 0 });
  return flags.map((flag) => evaluation.evaluate(flag));
}

function entryResult(flagSet: FlagSet, entry: unknown): Result | undefined {
  const { flag, context } = (
    typeof entry === 'object' && entry !== null && !Array.isArray(entry) ? entry : {}
  ) as Members;
  if (typeof flag !== 'string') return { flag: '', reason: 'ERROR', errorCode: 'PARSE_ERROR' };
  return evaluateAll(flagSet, context, [flag])[0];
}

/** The short form's user id is the targeting key of a context of one kind. */
function contextOf(members: Members): unknown {
  const userId = members.user_id ?? members.userId;
  if (userId === undefined) return members.context;
  if (!('context' in members)) return { targetingKey: userId };
  const { context } = members;
  if (typeof context !== 'object' || context === null || Array.isArray(context)) return context;
  return (context as Members).kind === 'multi' ? context : { ...context, targetingKey: userId };
}
