import { strict as assert } from 'node:assert';
import { setImmediate } from 'node:timers/promises';
import type { CompilePool } from '@guidon/pool';
import { type EnvironmentRef, type Issue, PlatformError } from '@guidon/protocol';
import type { Signed, SigningKey } from '@guidon/protocol/signed-config';
import { type Actor, auditActorOf } from '../admin-api/actor.js';
import { notFound } from '../admin-api/problems.js';
import { boundedDiff, digestOf, type PolicyVerdict } from '../audit/audit-entry.js';
import { appendAuditEntry } from '../audit/audit-store.js';
import type { Feed } from '../feed/feed.js';
import { type RecordedChange, rowsOfChange } from '../feed/rows-of-change.js';
import { assertWithinQuotas, countUsage, usageDeltaOf } from '../limits/tenant-usage.js';
import type { ControlStore, Draft, StoreTransaction } from '../store/control-store.js';
import { INSTALLATION, keys, type Scope } from '../store/keys.js';
import { inSpan } from '../tracing/in-span.js';
import type {
  Change,
  ChangeOutcome,
  ChangeScope,
  DryRunReport,
  RecordRead,
  Reply,
  Versioned,
  WriteRequest,
} from './change.js';
import { HISTORY_RETENTION, type HistoryRetention } from './definition-history.js';
import { diffJson } from './diff.js';
import { findCompileIssues } from './dry-run.js';
import type { FlagSet } from './engine.js';
import { EMPTY_FLAG_SET, Workspaces } from './environment-workspace.js';
import { type PreparedEnvironment, prepareEnvironment } from './prepare-environment.js';
import { ProjectLocks } from './project-locks.js';
import type { Review } from './review.js';
import { StaleBaseError } from './stale-base-error.js';
import { signPrepared, writeEnvironment, writeRevision } from './write-environment.js';

/** How often a plan is made again because something it read changed meanwhile. Locks make even one time rare. */
const PLAN_ATTEMPTS_MAX = 8;

/** A change whose rows are staged; a dry run has no `outcome`. `durable`: what the reply was made on is. */
interface StagedChange {
  readonly reply: Reply;
  readonly outcome?: ChangeOutcome;
  readonly owner?: Scope;
  readonly durable: Promise<void>;
}

/** What a change makes of each environment, and the manifests, in the same order. */
interface SignedEnvironments {
  readonly prepared: readonly PreparedEnvironment[];
  readonly manifests: readonly (Signed | undefined)[];
}

/** What the transaction of a change answers. */
interface Written {
  readonly reply: Reply;
  readonly outcome: ChangeOutcome;
  readonly feedEnd: number | undefined;
}

/** The one way to write: every change of every noun goes through `commit`. */
export class Committer {
  readonly #store: ControlStore;
  readonly #pool: CompilePool;
  readonly #signingKeys: { readonly signingKey: SigningKey };
  readonly #feed: Feed;
  readonly #now: () => number;
  /** Called after a change is durable, before the caller is answered. Must not throw. */
  readonly #onCommitted: (outcome: ChangeOutcome) => void;
  readonly #assertMayServe: (actor: Actor, environment: EnvironmentRef) => void;
  readonly #review: Review;
  readonly #retention: HistoryRetention;
  readonly #locks = new ProjectLocks();
  readonly #workspaces = new Workspaces();
  /** Changes between their plan and their rows. */
  #attemptCount = 0;

  constructor(options: {
    store: ControlStore;
    pool: CompilePool;
    /** Asked at each commit: keys rotate. */
    signingKeys: { readonly signingKey: SigningKey };
    feed: Feed;
    now: () => number;
    onCommitted: (outcome: ChangeOutcome) => void;
    /** Throws when the actor may not change what an environment serves, by whatever edit (model, “edits that reach further”). */
    assertMayServe: (actor: Actor, environment: EnvironmentRef) => void;
    /** Default: nobody is asked. */
    review?: Review;
    /** Default HISTORY_RETENTION. */
    retention?: HistoryRetention | undefined;
  }) {
    this.#store = options.store;
    this.#pool = options.pool;
    this.#signingKeys = options.signingKeys;
    this.#feed = options.feed;
    this.#now = options.now;
    this.#onCommitted = options.onCommitted;
    this.#assertMayServe = options.assertMayServe;
    this.#review = options.review ?? (() => undefined);
    this.#retention = options.retention ?? HISTORY_RETENTION;
  }

  /**
   * Makes the plan under the scope's lock, compiles what it changes and writes everything in one transaction (I1). `plan` reads the
   * store, checks preconditions and rules, throws PlatformError to refuse, and has no effect of its own: it may be called again.
   */
  commit(request: WriteRequest, scope: ChangeScope, plan: () => Change): Promise<Reply> {
    const name = request.dryRun ? 'dry run' : 'commit';
    return inSpan(name, {}, () => this.#commit(request, scope, plan));
  }

  async #commit(request: WriteRequest, scope: ChangeScope, plan: () => Change): Promise<Reply> {
    const staging = this.#locks.run(scope, () => this.#stage(request, plan));
    const { reply, outcome, owner, durable } = await staging.catch(async (refusal: unknown) => {
      // A refusal tells what others have changed: not before that is durable (M1).
      await this.#store.settled();
      throw refusal;
    });
    // The next change of the same thing is made on this one meanwhile; both may be in one commit.
    await durable;
    if (outcome !== undefined) {
      this.#onCommitted(outcome);
      if (owner !== undefined && owner !== INSTALLATION) this.#feed.announce(owner);
      request.committed?.(outcome);
    }
    return reply;
  }

  async #stage(request: WriteRequest, plan: () => Change): Promise<StagedChange> {
    for (let attempt = 0; attempt < PLAN_ATTEMPTS_MAX; attempt += 1) {
      try {
        return await this.#attempt(request, plan);
      } catch (error) {
        if (!(error instanceof StaleBaseError)) throw error;
      }
    }
    throw new PlatformError('overloaded', 'others keep changing the same thing; try again');
  }

  /** What the environment serves now: the last committed state, for plans that look at more than they change. */
  flagSetOf(environment: EnvironmentRef): FlagSet {
    return this.#workspaces.open(this.#store, environment)?.flagSet ?? EMPTY_FLAG_SET;
  }

  async #attempt(request: WriteRequest, plan: () => Change): Promise<StagedChange> {
    const prepared: PreparedEnvironment[] = [];
    let isStaged = false;
    this.#attemptCount += 1;
    try {
      const change = this.#store.readStaged(() => this.#prepare(request, plan, prepared));
      const [issues, { manifests, early }] = await Promise.all([
        Promise.all(prepared.map((environment) => findCompileIssues(this.#pool, this.#store, environment))),
        this.#workAhead(request, change, prepared),
      ]);
      if (request.dryRun) return { reply: dryRunReply(change, prepared, issues), durable: this.#store.settled() };
      assertCompiles(issues.flat());
      const asked = this.#review(request, change, prepared);
      const verdicts = asked && (await asked);
      const { result, durable } = this.#store.stage(
        (transaction) => this.#write(transaction, request, change, { prepared, manifests, verdicts }),
        verdicts === undefined ? early : undefined,
      );
      isStaged = true;
      const { owner } = change;
      if (owner !== INSTALLATION && result.feedEnd !== undefined) this.#feed.keepHead(owner, result.feedEnd);
      for (const { change: environmentChange, next } of prepared) {
        this.#workspaces.keep(environmentChange.environment, next);
      }
      return { reply: result.reply, outcome: result.outcome, owner, durable };
    } finally {
      this.#attemptCount -= 1;
      if (!isStaged) for (const { undo } of prepared.reverse()) undo();
    }
  }

  /** The plan, and into `prepared` what it makes of each environment, one at a time, so that a throw leaves those before it to be undone. */
  #prepare(request: WriteRequest, plan: () => Change, prepared: PreparedEnvironment[]): Change {
    const change = plan();
    const { owner, records } = change;
    if (owner !== INSTALLATION) assertWithinQuotas(this.#store, owner, usageDeltaOf(owner, records));
    for (const environment of change.environments ?? []) {
      prepared.push(prepareEnvironment(this.#store, this.#workspaces, environment));
    }
    for (const { isRaised, change: environmentChange } of prepared) {
      if (!isRaised || environmentChange.isNew === true || environmentChange.changesNoAnswer === true) continue;
      this.#assertMayServe(request.actor, environmentChange.environment);
    }
    return change;
  }

  /**
   * What can be done while the pool tries the change: the manifests, and all that is to be written as long as nobody else is about to write.
   * Never rejects for what the change is refused for: the pool's reasons come first.
   */
  async #workAhead(
    request: WriteRequest,
    change: Change,
    prepared: readonly PreparedEnvironment[],
  ): Promise<SignedEnvironments & { readonly early: Draft<Written> | undefined }> {
    const isTried = prepared.some(({ isRaised }) => isRaised);
    if (request.dryRun || !isTried) return { prepared, manifests: [], early: undefined };
    // By the next turn the change is on its way.
    await setImmediate();
    const context = { signingKey: this.#signingKeys.signingKey, now: this.#now() };
    const manifests = prepared.map((environment) => signPrepared(environment, context));
    const isAlone = this.#attemptCount === 1;
    const write = (transaction: StoreTransaction) => this.#write(transaction, request, change, { prepared, manifests });
    return { prepared, manifests, early: isAlone ? this.#store.draft(write) : undefined };
  }

  #write(
    transaction: StoreTransaction,
    request: WriteRequest,
    change: Change,
    { prepared, manifests, verdicts = [] }: SignedEnvironments & { verdicts?: readonly PolicyVerdict[] | undefined },
  ): Written {
    for (const read of [...change.records, ...(change.relied ?? [])]) assertUnchanged(transaction, read);
    change.assertInside?.(transaction);
    for (const { key, read, value } of change.records) {
      if (value === undefined) transaction.remove(key);
      else {
        // A new record may start above 1, where the versions of a deleted one with the same key ended.
        const isNext = read === undefined ? value.version >= 1 : value.version === read.version + 1;
        assert(isNext, 'a record is written with the version after the one read');
        transaction.put(key, value);
      }
    }
    // A tenant that was deleted while the change was made gets no row any more.
    if (change.owner !== INSTALLATION && !transaction.has(keys.tenant(change.owner))) throw notFound();
    countUsage(transaction, change.owner, change.records);
    for (const { key, value } of change.rows ?? []) {
      if (value === undefined) transaction.remove(key);
      else transaction.put(key, value);
    }
    const now = this.#now();
    const context = {
      signingKey: this.#signingKeys.signingKey,
      now,
      actorName: request.actor.name,
      retention: this.#retention,
    };
    const outcome = {
      environments: prepared.map((environment) => writeEnvironment(transaction, environment, context)),
    };
    const actor = auditActorOf(request.actor);
    const auditSequence = appendAuditEntry(transaction, change.owner, {
      at: now,
      actor,
      requestId: request.requestId,
      ...(request.from === undefined ? {} : { from: request.from }),
      action: change.action,
      subject: change.subject,
      summary: change.summary,
      comment: request.comment ?? '',
      ...(change.details === undefined ? {} : { details: change.details }),
      ...boundedDiff(diffJson(change.before, change.after)),
      beforeDigest: digestOf(change.before),
      afterDigest: digestOf(change.after),
      ...(verdicts.length === 0 ? {} : { policy: verdicts }),
      environments: outcome.environments.map(({ environment, epoch, revision, isRaised, accessSequence }) => ({
        environmentId: environment.environmentId,
        epoch,
        previousRevision: isRaised ? revision - 1 : revision,
        revision,
        accessSequence,
      })),
    });
    for (const [index, environment] of prepared.entries()) {
      writeRevision(transaction, environment, change, { ...context, auditSequence, manifest: manifests[index] });
    }
    const feedEnd = this.#appendToFeed(transaction, { change, prepared, outcome, at: now, actor, auditSequence });
    const reply = change.reply(outcome);
    request.remember?.(transaction, reply);
    return { reply, outcome, feedEnd };
  }

  /** What the installation does to itself is in no feed. */
  #appendToFeed(transaction: StoreTransaction, recorded: RecordedChange): number | undefined {
    const { owner } = recorded.change;
    if (owner === INSTALLATION) return undefined;
    return this.#feed.append(transaction, owner, rowsOfChange(transaction, owner, recorded));
  }
}

/** I5: what the plan compared with If-Match, or relied on, is still what is stored. */
function assertUnchanged(transaction: StoreTransaction, { key, read }: RecordRead): void {
  const stored = transaction.find<Versioned>(key);
  if (stored?.version !== read?.version) throw new StaleBaseError();
}

/** All issues of all environments as one refusal. */
function assertCompiles(issues: readonly Issue[]): void {
  const first = issues[0];
  if (first === undefined) return;
  throw new PlatformError(first.code, first.detail, { issues });
}

/** `issues` of each prepared environment, in the same order. */
function dryRunReply(
  change: Change,
  prepared: readonly PreparedEnvironment[],
  issues: readonly (readonly Issue[])[],
): Reply {
  const report: DryRunReport = {
    dryRun: true,
    summary: change.summary,
    diff: diffJson(change.before, change.after),
    environments: prepared.map(({ change: { environment }, next, definitions }, index) => ({
      environmentId: environment.environmentId,
      revision: next.revision,
      changedDefinitions: definitions.length,
      issues: issues[index] ?? [],
    })),
  };
  return { status: 200, body: report };
}
