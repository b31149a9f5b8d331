import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RunningServer, type ServerOptions, startServer } from '@guidon/server';
import pino from 'pino';
import type { FeedEnvironment, SignedFeedServer } from './signed-feed-server.js';

export interface RunningNode {
  readonly server: RunningServer;
  readonly directory: string;
  /** Log lines of level warn and above. */
  readonly log: readonly LogLine[];
  /** Ends the node and keeps its directory. */
  stop(): Promise<void>;
}

export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly [name: string]: unknown;
}

const directories: string[] = [];

/** A real node on free ports, with its own LMDB, fed by `feed`. */
export async function startNode(
  feed: SignedFeedServer,
  options: Partial<ServerOptions> & { readonly directory?: string; readonly isPinned?: boolean } = {},
): Promise<RunningNode> {
  const { directory = await temporaryDirectory(), isPinned = true, ...rest } = options;
  const log: LogLine[] = [];
  const logger = pino({ level: 'warn' }, { write: (line: string) => void log.push(JSON.parse(line)) });
  const server = await startServer({
    dataDirectory: directory,
    port: 0,
    metricsPort: 0,
    controlPlaneUrl: feed.url,
    nodeCredential: feed.nodeCredential,
    ...(isPinned ? { trustRoot: feed.trustRoot } : {}),
    logger,
    pollIntervalMs: 100,
    ...(feed.bus === undefined ? {} : { bus: feed.bus }),
    ...rest,
  });
  return { server, directory, log, stop: () => server.close() };
}

export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'guidon-node-'));
  directories.push(directory);
  return directory;
}

export async function removeTemporaryDirectories(): Promise<void> {
  await Promise.all(directories.splice(0).map((directory) => rm(directory, { recursive: true, force: true })));
}

/** Polls `isTrue`; rejects when it has not become true in time. */
export async function until(what: string, isTrue: () => boolean | Promise<boolean>, timeoutMs = 15_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await isTrue())) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Until the node serves the environment's newest revision. */
export function untilCurrent(node: RunningNode, environment: FeedEnvironment): Promise<void> {
  const { ref } = environment;
  return until(
    `revision ${environment.revision} of ${ref.environmentId}`,
    () => node.server.revisionOf(ref.environmentId) === environment.revision,
  );
}

/** Until a token is accepted. */
export function untilAccepted(node: RunningNode, token: string): Promise<void> {
  return until('the credential is accepted', async () => {
    const answer = await fetch(`${node.server.url}/v1/evaluate`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: '{"context":{}}',
    });
    // 503 alone says nothing: an accepted key of an environment without a snapshot gets it too.
    return answer.status !== 401 && !(await answer.text()).includes('every credential');
  });
}

export async function metricOf(node: Pick<RunningNode, 'server'>, name: string): Promise<number> {
  const page = await (await fetch(`${node.server.metricsUrl}/metrics`)).text();
  const values = page
    .split('\n')
    .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
    .map((line) => Number(line.slice(line.lastIndexOf(' ') + 1)));
  return values.reduce((sum, value) => sum + value, 0);
}
