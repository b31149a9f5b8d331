import type { EnvironmentRef } from '@guidon/protocol';
import { z } from 'zod';

/** Not strict, none of these: a node of a later build may say more than this control plane knows, which is let go. */
const environmentStatusSchema = z.object({
  tenantId: z.string(),
  projectId: z.string(),
  environmentId: z.string(),
  epoch: z.int().min(0),
  revision: z.int().min(0).describe('The revision it serves; 0 = none yet'),
  accessEpoch: z.int().min(0).optional(),
  accessSequence: z.int().min(0),
  streams: z.int().min(0).optional().describe('Open streams of this environment; absent = none'),
  answers: z
    .object({ evaluations: z.int().min(0), errors: z.int().min(0) })
    .optional()
    .describe('Of a canary: what the revision that serves has answered there'),
  quarantined: z
    .array(z.object({ epoch: z.int(), revision: z.int(), digest: z.string(), reason: z.string() }))
    .describe('Revisions it refused and will not try again (I10)'),
});
export type EnvironmentStatus = z.infer<typeof environmentStatusSchema>;

const nodeSchema = z.object({
  nodeId: z.string(),
  version: z.string().max(64).describe('Of Guidon'),
  isCanary: z.boolean().optional().describe('It takes each revision before the others'),
  store: z.string().max(64).describe('State of the node’s own store, such as ok or degraded'),
  bus: z.string().max(300).describe('connected, or why not; none = it follows by poll alone'),
  streams: z.int().min(0).describe('Open streams, all environments'),
  lagMs: z
    .number()
    .min(0)
    .nullable()
    .describe('From signing to serving, of the newest revision it took; null = none yet'),
  witness: z
    .object({
      logCount: z.int().min(0).describe('Audit logs whose newest head it holds'),
      inconsistent: z
        .array(
          z.object({
            owner: z.string().describe('A tenant’s id, or $ for the installation'),
            size: z.int().describe('Of the head that it holds'),
            root: z.string(),
            shownSize: z.int().describe('Of the head that it was shown and did not take'),
            shownRoot: z.string(),
            reason: z.string(),
          }),
        )
        .max(100)
        .describe('Logs that are no continuation of what they were: somebody has changed them'),
      inconsistentCount: z.int().min(0),
      restoredCount: z.int().min(0).optional().describe('Logs that a restore has cut since the node’s start'),
    })
    .optional()
    .describe('What it saw of the audit logs'),
});

/** What a node says of itself: the body of `POST /internal/v1/nodes/{nodeId}/status`. */
export const nodeStatusSchema = nodeSchema.extend({
  session: z.string().max(64).describe('Another one after each start of the node'),
  sequence: z.int().min(1).describe('Counts the reports of a session'),
  isWhole: z.boolean().describe('Every environment is named; else those alone that changed since the report before'),
  environments: z.array(environmentStatusSchema).max(50_000),
  removed: z.array(z.string()).max(50_000).describe('Environments that it does not serve any more'),
});
export type NodeStatus = z.infer<typeof nodeStatusSchema>;

/** A node as the installation’s admins see it. */
export const nodeViewSchema = nodeSchema
  .extend({
    at: z.int().describe('When it was heard of last; milliseconds since 1970'),
    isLive: z.boolean().describe('It was heard of within the last 15 s'),
    environmentCount: z.int(),
    behindCount: z.int().describe('Environments in which it serves an older revision than the newest, or none'),
    quarantined: z
      .array(environmentStatusSchema.pick({ environmentId: true, quarantined: true }))
      .describe('Environments with refused revisions, at most 100'),
  })
  .meta({ id: 'Node' });

export const stageSchema = z
  .object({
    environmentId: z.string(),
    epoch: z.int(),
    revision: z.int().describe('What canaries are given'),
    released: z.int().describe('What the other nodes are given; 0 = nothing yet'),
    newest: z.int(),
    state: z
      .enum(['waiting', 'running', 'stopped'])
      .describe('Not all live canaries serve it yet; all do; one refused it or answers more errors with it'),
    reason: z.string(),
    since: z.int().describe('When canaries were given it; milliseconds since 1970'),
  })
  .meta({ id: 'Stage' });

export const propagationSchema = z
  .object({
    environmentId: z.string(),
    epoch: z.int(),
    revision: z.int(),
    committedAt: z.int().describe('Milliseconds since 1970'),
    isComplete: z.boolean().describe('Every live node serves it, or a newer one'),
    staged: stageSchema.optional().describe('Present while it waits for canaries, or stopped there'),
    nodes: z.array(
      z.object({
        nodeId: z.string(),
        isLive: z.boolean(),
        serves: z.boolean(),
        revision: z.int().describe('What it serves; 0 = nothing of this environment'),
        at: z.int().nullable().describe('When it said so first; milliseconds since 1970'),
        streams: z.int().describe('Open streams of the environment on this node'),
      }),
    ),
  })
  .meta({ id: 'Propagation' });

/** Nodes beyond this many push out the one heard of longest ago. */
export const NODE_COUNT_MAX = 1_000;
/** Three polls. */
const LIVE_MS = 15_000;
const QUARANTINED_VIEW_MAX = 100;

export interface CanaryReport extends Pick<EnvironmentStatus, 'epoch' | 'revision' | 'quarantined'> {
  readonly nodeId: string;
  readonly isLive: boolean;
  /** When it first said that it serves this revision, milliseconds since 1970. */
  readonly at: number;
  readonly answers: NonNullable<EnvironmentStatus['answers']>;
}

type Position = { readonly epoch: number; readonly revision: number };

interface KnownNode {
  status: NodeStatus;
  at: number;
  readonly environments: Map<string, EnvironmentStatus & { readonly at: number }>;
}

/**
 * What each node serves, in memory: it is what nodes say now, and they say it again after a restart of the control plane. Reports are changes
 * since the one before; where one is missing the node is asked for everything. Nothing that is served is decided by it.
 */
export class NodeDirectory {
  readonly #nodes = new Map<string, KnownNode>();
  readonly #now: () => number;
  readonly #listeners = new Set<() => void>();

  /** `now`: epoch milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** False: it says what changed since a report that was not heard; it has to say everything. */
  report(status: NodeStatus): boolean {
    const known = this.#nodes.get(status.nodeId);
    const isNext = known?.status.session === status.session && known.status.sequence + 1 === status.sequence;
    if (!status.isWhole && !isNext) return false;
    const at = this.#now();
    const environments = new Map(known?.environments);
    const named = new Set(status.environments.map(({ environmentId }) => environmentId));
    for (const environmentId of status.removed) environments.delete(environmentId);
    if (status.isWhole) {
      for (const environmentId of environments.keys())
        if (!named.has(environmentId)) environments.delete(environmentId);
    }
    for (const environment of status.environments) {
      const before = environments.get(environment.environmentId);
      const isSame = before !== undefined && compare(before, environment) === 0;
      environments.set(environment.environmentId, { ...environment, at: isSame ? before.at : at });
    }
    this.#nodes.delete(status.nodeId);
    this.#nodes.set(status.nodeId, { status: { ...status, environments: [] }, at, environments });
    const [oldest] = this.#nodes.keys();
    if (this.#nodes.size > NODE_COUNT_MAX && oldest !== undefined) this.#nodes.delete(oldest);
    for (const listener of this.#listeners) listener();
    return true;
  }

  /** It polled. False: it has not reported yet, as after a restart of this control plane. */
  touch(nodeId: string): boolean {
    const known = this.#nodes.get(nodeId);
    if (known !== undefined) known.at = this.#now();
    return known !== undefined;
  }

  counts(): { readonly knownCount: number; readonly liveCount: number } {
    let liveCount = 0;
    for (const known of this.#nodes.values()) liveCount += Number(this.#isLive(known));
    return { knownCount: this.#nodes.size, liveCount };
  }

  /** Calls `listener` after each report until the returned function is called. */
  onReport(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** `statesFor`: where every environment stands, as a node is told. */
  list(statesFor: (isCanary: boolean) => readonly (EnvironmentRef & Position)[]): z.infer<typeof nodeViewSchema>[] {
    const [toOthers, toCanaries] = [statesFor(false), statesFor(true)];
    return this.#sorted().map((known) => {
      const newest = known.status.isCanary === true ? toCanaries : toOthers;
      const { session: _, sequence: __, isWhole: ___, environments: ____, removed: _____, ...node } = known.status;
      const all = [...known.environments.values()];
      return {
        ...node,
        at: known.at,
        isLive: this.#isLive(known),
        environmentCount: known.environments.size,
        behindCount: newest.filter((state) => !serves(known.environments.get(state.environmentId), state)).length,
        quarantined: all
          .filter(({ quarantined }) => quarantined.length > 0)
          .slice(0, QUARANTINED_VIEW_MAX)
          .map(({ environmentId, quarantined }) => ({ environmentId, quarantined })),
      };
    });
  }

  /** What canaries say of an environment. Whoever asks for many environments looks for the canaries among the nodes once. */
  canaryReports(): (environmentId: string) => CanaryReport[] {
    const canaries = [...this.#nodes.values()].filter(({ status }) => status.isCanary === true);
    return (environmentId) =>
      canaries.map((known) => {
        const environment = known.environments.get(environmentId);
        return {
          nodeId: known.status.nodeId,
          isLive: this.#isLive(known),
          epoch: environment?.epoch ?? 0,
          revision: environment?.revision ?? 0,
          at: environment?.at ?? 0,
          answers: environment?.answers ?? { evaluations: 0, errors: 0 },
          quarantined: environment?.quarantined ?? [],
        };
      });
  }

  /** Calls `visit` with each live node and whether it serves `position`: in no order, since many writes may ask at each report. */
  visitLive(environmentId: string, position: Position, visit: (nodeId: string, isServing: boolean) => void): void {
    for (const known of this.#nodes.values()) {
      if (this.#isLive(known)) visit(known.status.nodeId, serves(known.environments.get(environmentId), position));
    }
  }

  /** Which nodes serve `position` of an environment. Nodes that are not live are named, and not waited for. */
  propagation(
    environmentId: string,
    position: Position,
  ): Pick<z.infer<typeof propagationSchema>, 'isComplete' | 'nodes'> {
    const nodes = this.#sorted().map((known) => {
      const environment = known.environments.get(environmentId);
      return {
        nodeId: known.status.nodeId,
        isLive: this.#isLive(known),
        serves: serves(environment, position),
        revision: environment?.revision ?? 0,
        at: environment?.at ?? null,
        streams: environment?.streams ?? 0,
      };
    });
    return { isComplete: nodes.every(({ isLive, serves: isServing }) => isServing || !isLive), nodes };
  }

  #sorted(): KnownNode[] {
    return [...this.#nodes.values()].sort((a, b) => (a.status.nodeId < b.status.nodeId ? -1 : 1));
  }

  #isLive({ at }: KnownNode): boolean {
    return this.#now() - at <= LIVE_MS;
  }
}

const compare = (a: Position, b: Position): number =>
  a.epoch === b.epoch ? a.revision - b.revision : a.epoch - b.epoch;

const serves = (environment: Position | undefined, position: Position): boolean =>
  environment !== undefined && compare(environment, position) >= 0;
