import { readFileSync } from 'node:fs';
import { closureSubject, inProcessSubject, kernelSubject, type Workload } from '../engine/subjects.js';
import { CONTEXT_COUNT, w1Flag, w2Flag, w3Flags, workloadContexts } from '../workloads.js';
import type { CreatePeer } from './peer.js';

/** One implementation with one workload loaded. */
export interface Measured {
  /** Evaluates the index-th context and returns a number that depends on the answer. */
  readonly run: (index: number) => number | Promise<number>;
  readonly variations: (index: number) => Promise<string[]>;
  readonly close: () => Promise<void>;
}

/** bench/peers, seen from bench/dist/side-by-side. */
export const PEERS_FOLDER = new URL('../../peers/', import.meta.url);

/** Adapter file in bench/peers by package name. */
export const PEERS = {
  '@openfeature/flagd-core': 'flagd',
  'statsig-node': 'statsig',
  'configcat-node': 'configcat',
  '@launchdarkly/node-server-sdk': 'launchdarkly',
  'unleash-client': 'unleash',
  '@growthbook/growthbook': 'growthbook',
  '@flipt-io/flipt-client-js': 'flipt',
  '@devcycle/nodejs-server-sdk': 'devcycle',
} as const;

export type Own = 'in-process' | 'kernel' | 'closures';
export const OWN: readonly Own[] = ['in-process', 'kernel', 'closures'];

/** The version that bench/peers pins. */
export function peerVersion(name: string): string {
  const manifest: { dependencies: Record<string, string> } = JSON.parse(
    readFileSync(new URL('package.json', PEERS_FOLDER), 'utf8'),
  );
  return manifest.dependencies[name] ?? '';
}

/** `name` is one of OWN or of PEERS. */
export async function loadMeasured(name: string, workload: Workload): Promise<Measured> {
  if (name === 'in-process' || name === 'kernel' || name === 'closures') return loadOwn(name, workload);
  const adapter = Object.entries(PEERS).find(([packageName]) => packageName === name)?.[1];
  if (adapter === undefined) throw new Error(`there is no adapter for ${name}`);
  const { createPeer } = (await import(new URL(`dist/${adapter}.js`, PEERS_FOLDER).href)) as { createPeer: CreatePeer };
  const flags = workload === 'W1' ? [w1Flag()] : workload === 'W2' ? [w2Flag()] : w3Flags();
  const peer = await createPeer({ flags, contexts: workloadContexts() });
  const keys = flags.map(({ key }) => key);
  const first = peer.ask(keys[0] ?? '', 0);
  const variations = async (index: number): Promise<string[]> => {
    const served: string[] = [];
    for (const key of keys) served.push(await peer.ask(key, index));
    return served;
  };
  const runAsync = async (index: number): Promise<number> => {
    let sum = 0;
    for (const key of keys) sum += (await peer.ask(key, index)).length;
    return sum;
  };
  const run = (index: number): number => {
    let sum = 0;
    for (const key of keys) sum += (peer.ask(key, index) as string).length;
    return sum;
  };
  return {
    run: typeof first === 'string' ? run : runAsync,
    variations,
    close: async () => peer.close?.(),
  };
}

async function loadOwn(name: Own, workload: Workload): Promise<Measured> {
  const ofKernel = (of: Workload) => kernelSubject(of, 'msgpack');
  const make = { 'in-process': inProcessSubject, kernel: ofKernel, closures: closureSubject }[name];
  const { run, variations } = await make(workload);
  return { run, variations: async (index) => variations(index), close: async () => undefined };
}

/** Contexts whose variations are counted before anything is timed. */
export function checkedCount(workload: Workload): number {
  return workload === 'W3' ? 500 : CONTEXT_COUNT;
}
