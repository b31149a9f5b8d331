import { type BusStatus, PlatformError } from '@guidon/protocol';
import type { ControlPlaneOptions } from './options/control-plane-options.js';
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
export async function runStatus({ controlPlane, token }: ControlPlaneOptions): Promise<number> {
  if (token === undefined) {
    throw new PlatformError('invalid-credentials', 'set GUIDON_ADMIN_TOKEN to a token of an installation admin');
  }
  const [status, nodes] = await Promise.all([
    read<InstallationStatus>(controlPlane, '/api/v1/status', token),
    read<{ readonly items: readonly NodeLine[] }>(controlPlane, '/api/v1/nodes', token),
  ]);
  const { bus, environmentCount, outboxCount } = status;
  console.log(`bus           ${bus.kind}, ${bus.isConnected ? 'connected' : 'not connected'}: ${bus.detail}`);
  console.log(`environments  ${environmentCount}, ${outboxCount} messages not published yet`);
  const { stagedCount = 0, staged = [] } = status;
  if (stagedCount > 0) console.log(`canaries      ${stagedCount} environments have a newer revision than other nodes`);
  for (const { environmentId, revision, released, state, reason } of staged) {
    console.log(`              ${environmentId}: ${revision} after ${released}, ${state}: ${reason}`);
  }
  const lines = nodes.items;
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

async function read<Answer>(controlPlane: string, path: string, token: string): Promise<Answer> {
  let answer: Response;
  try {
    answer = await fetch(controlPlane + path, {
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(10_000),
    });
  } catch (cause) {
    throw new PlatformError('not-ready', `${controlPlane} cannot be reached`, { cause });
  }
  const text = await answer.text();
  if (answer.status === 200) return JSON.parse(text);
  throw new PlatformError(
    'forbidden',
    `${controlPlane}${path} answered ${answer.status}: an installation admin may read it`,
  );
}
