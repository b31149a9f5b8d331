import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ChaosNode } from './chaos-node.js';
import type { Installation } from './installation.js';
import type { NatsServer } from './nats-server.js';
import type { SeededRandom } from './seeded-random.js';

/** How long one fault lasts, and how long it is quiet after it, milliseconds. */
const FAULT_MS = { min: 200, max: 3_000 } as const;
const QUIET_MS_MAX = 700;
/** Waiting for a process to be gone. */
const GONE_MS_MAX = 5_000;

export interface ChaosParts {
  readonly installation: Installation;
  readonly nats: NatsServer;
  readonly nodes: readonly ChaosNode[];
}

/** Happens, lasts, and is over when it resolves. Says what it did beyond its name. */
type Fault = (parts: ChaosParts, random: SeededRandom) => Promise<string>;

/** Of one node's process and disk. */
const NODE_FAULTS: Readonly<Record<string, Fault>> = {
  'node killed': withNode(async (node, wait) => {
    await node.kill();
    await wait();
    await node.start();
    return '';
  }),
  'node stopped': withNode(async (node, wait) => {
    node.signal('SIGSTOP');
    await wait();
    node.signal('SIGCONT');
    return '';
  }),
  'node wiped': withNode(async (node) => {
    await node.kill();
    node.wipe();
    await node.start();
    return '';
  }),
  'node store damaged': withNode(async (node, _, random) => {
    await node.kill();
    const what = node.damage(random);
    await node.start();
    return what;
  }),
};

/** Of everything that nodes can do without, and of networks. */
const SURROUNDING_FAULTS: Readonly<Record<string, Fault>> = {
  'control plane killed': async ({ installation }, random) => {
    await killAll(installation);
    await last(random);
    await installation.resumeControlPlane();
    return '';
  },
  'control plane stopped': async ({ installation }, random) => {
    const pids = processesOf(installation);
    signalAll(pids, 'SIGSTOP');
    await last(random);
    signalAll(pids, 'SIGCONT');
    return '';
  },
  'NATS killed': async ({ nats }, random) => {
    await nats.kill();
    await last(random);
    await nats.resume();
    return '';
  },
  'NATS stopped': async ({ nats }, random) => {
    nats.signal('SIGSTOP');
    await last(random);
    nats.signal('SIGCONT');
    return '';
  },
  'NATS store deleted': async ({ nats }, random) => {
    await nats.kill();
    nats.deleteStore();
    await last(random);
    await nats.resume();
    return '';
  },
  'connections reset': async ({ nodes }, random) => {
    const proxies = random.shuffled(nodes.flatMap((node) => node.proxies)).slice(0, random.between(1, 4));
    for (const proxy of proxies) proxy.reset();
    return `${proxies.length} proxies`;
  },
  'connections refused': withNode(async (node, wait, random) => {
    const proxy = random.pick(node.proxies);
    proxy.refuse();
    await wait();
    proxy.heal();
    return nameOf(proxy, node);
  }),
  'connections half-open': withNode(async (node, wait, random) => {
    const proxy = random.pick(node.proxies);
    proxy.swallow();
    await wait();
    // Towards clients the way back answers what it does not know; a node has to find out by itself.
    proxy.heal({ resetsSilent: proxy === node.clientProxy });
    return nameOf(proxy, node);
  }),
};

export const FAULT_NAMES: readonly string[] = [...Object.keys(NODE_FAULTS), ...Object.keys(SURROUNDING_FAULTS)];

/**
 * Injects faults until `untilMs` (performance.now), in two lanes that overlap: one node at a time loses its process or disk, while one thing around
 * the nodes fails. Each lane plays every fault once in an order drawn from its seed, then again in another order. Resolves when all are
 * over, with how often each was.
 */
export async function injectFaults(
  parts: ChaosParts,
  random: readonly [SeededRandom, SeededRandom],
  untilMs: number,
  say: (what: string) => void,
): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  const play = async (faults: Readonly<Record<string, Fault>>, own: SeededRandom): Promise<void> => {
    while (performance.now() < untilMs) {
      for (const [name, fault] of own.shuffled(Object.entries(faults))) {
        if (performance.now() >= untilMs) return;
        const startedMs = performance.now();
        const detail = await fault(parts, own);
        counts.set(name, (counts.get(name) ?? 0) + 1);
        say(`${name} ${detail} (${(performance.now() - startedMs).toFixed(0)} ms)`);
        await sleep(own.below(QUIET_MS_MAX));
      }
    }
  };
  await Promise.all([play(NODE_FAULTS, random[0]), play(SURROUNDING_FAULTS, random[1])]);
  return counts;
}

function withNode(fault: (node: ChaosNode, wait: () => Promise<void>, random: SeededRandom) => Promise<string>): Fault {
  return async ({ nodes }, random) => {
    const node = random.pick(nodes);
    return `${node.name} ${await fault(node, () => last(random), random)}`;
  };
}

const last = (random: SeededRandom): Promise<void> => sleep(random.between(FAULT_MS.min, FAULT_MS.max));

function nameOf(proxy: unknown, node: ChaosNode): string {
  if (proxy === node.planeProxy) return 'to the control plane';
  return proxy === node.busProxy ? 'to NATS' : 'to clients';
}

/** The command and the process that it watches, the command first. */
function processesOf({ controlPlane }: Installation): number[] {
  const { pid } = controlPlane.child;
  return pid === undefined ? [] : [pid, ...childrenOf(pid)];
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
}

function signalAll(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name);
    } catch {
      // It has ended meanwhile.
    }
  }
}

async function killAll(installation: Installation): Promise<void> {
  const pids = processesOf(installation);
  signalAll(pids, 'SIGKILL');
  await installation.controlPlane.exitStatus();
  const deadlineMs = performance.now() + GONE_MS_MAX;
  while (pids.some(isThere) && performance.now() < deadlineMs) await sleep(10);
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
