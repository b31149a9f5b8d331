import type { BusStatus } from '@guidon/protocol';
import { type ControlPlaneOptions, clientOf } from './options/control-plane-options.js';
import { printTable } from './options/print-table.js';

interface InstallationStatus {
  readonly bus: BusStatus;
  readonly environmentCount: number;
  readonly outboxCount: number;
  /** Absent in control planes of before. */
  readonly stagedCount?: number;
  readonly staged?: readonly StageLine[];
}

interface StageLine {
  readonly environmentId: string;
  readonly revision: number;
  readonly released: number;
  readonly state: string;
  readonly reason: string;
}

interface NodeLine {
  readonly isCanary?: boolean;
  readonly nodeId: string;
  readonly version: string;
  readonly isLive: boolean;
  readonly at: number;
  readonly environmentCount: number;
  readonly behindCount: number;
  readonly lagMs: number | null;
  readonly streams: number;
  readonly bus: string;
  readonly store: string;
  readonly quarantined: readonly unknown[];
}

/** `guidon status`: the bus and every node on one page. Resolves with the exit status: 1 when something is not as it should be. */
export async function runStatus(options: ControlPlaneOptions): Promise<number> {
  const client = clientOf(options);
  const [status, nodes] = await Promise.all([client.get('/api/v1/status'), client.get('/api/v1/nodes')]);
  const { bus, environmentCount, outboxCount, stagedCount = 0, staged = [] } = status.body as InstallationStatus;
  console.log(`bus           ${bus.kind}, ${bus.isConnected ? 'connected' : 'not connected'}: ${bus.detail}`);
  console.log(`environments  ${environmentCount}, ${outboxCount} messages not published yet`);
  if (stagedCount > 0) console.log(`canaries      ${stagedCount} environments have a newer revision than other nodes`);
  for (const { environmentId, revision, released, state, reason } of staged) {
    console.log(`              ${environmentId}: ${revision} after ${released}, ${state}: ${reason}`);
  }
  const { items: lines } = nodes.body as { readonly items: readonly NodeLine[] };
  console.log(`nodes         ${lines.filter(({ isLive }) => isLive).length} live of ${lines.length}\n`);
  printTable([
    ['NODE', 'VERSION', 'HEARD', 'SERVES', 'BEHIND', 'LAG', 'STREAMS', 'BUS', 'STORE', 'REFUSED'],
    ...lines.map((node) => [
      node.isCanary === true ? `${node.nodeId} (canary)` : node.nodeId,
      node.version,
      `${Math.max(0, Math.round((Date.now() - node.at) / 1000))} s ago${node.isLive ? '' : ' (gone)'}`,
      String(node.environmentCount),
      String(node.behindCount),
      node.lagMs === null ? '-' : `${Math.round(node.lagMs)} ms`,
      String(node.streams),
      node.bus,
      node.store,
      String(node.quarantined.length),
    ]),
  ]);
  const isStopped = staged.some(({ state }) => state === 'stopped');
  const isWell = bus.isConnected && !isStopped && lines.every((node) => !node.isLive || node.behindCount === 0);
  return isWell ? 0 : 1;
}
