import { z } from 'zod';

/** What a node says of itself: the body of `POST /internal/v1/nodes/{nodeId}/status`. */
export const nodeStatusSchema = z.strictObject({
  nodeId: z.string(),
  store: z.string().max(64).describe('State of the node’s own store, such as ok or degraded'),
  environments: z
    .array(
      z.strictObject({
        tenantId: z.string(),
        projectId: z.string(),
        environmentId: z.string(),
        epoch: z.int().min(0),
        revision: z.int().min(0).describe('The revision it serves; 0 = none yet'),
        accessSequence: z.int().min(0),
        quarantined: z
          .array(z.strictObject({ epoch: z.int(), revision: z.int(), digest: z.string(), reason: z.string() }))
          .describe('Revisions it refused and will not try again (I10)'),
      }),
    )
    .max(50_000),
  witness: z
    .strictObject({
      logCount: z.int().min(0).describe('Audit logs whose newest head it holds'),
      inconsistent: z
        .array(
          z.strictObject({
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
    })
    .optional()
    .describe('What it saw of the audit logs'),
});
export type NodeStatus = z.infer<typeof nodeStatusSchema>;

/** Nodes beyond this many push out the one heard of longest ago. */
export const NODE_COUNT_MAX = 1_000;

/**
 * The newest word of each node, in memory: it is what nodes say now, and they say it again after a restart of the control plane.
 * Nothing is decided by it, so it need not survive.
 */
export class NodeDirectory {
  readonly #nodes = new Map<string, NodeStatus & { readonly at: number }>();

  /** `at` is epoch milliseconds, for display. */
  report(status: NodeStatus, at: number): void {
    this.#nodes.delete(status.nodeId);
    this.#nodes.set(status.nodeId, { ...status, at });
    const [oldest] = this.#nodes.keys();
    if (this.#nodes.size > NODE_COUNT_MAX && oldest !== undefined) this.#nodes.delete(oldest);
  }

  list(): readonly (NodeStatus & { readonly at: number })[] {
    return [...this.#nodes.values()].sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
  }
}
