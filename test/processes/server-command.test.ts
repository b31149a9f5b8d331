import { fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { aFlag } from '../support/flag-sets.js';
import { GuidonProcess, temporaryFolder } from '../support/guidon-process.js';
import { findProcesses, KeptConnection, Metrics, SERVER_PROCESS } from '../support/running-group.js';
import { until } from '../support/running-node.js';
import { type FeedEnvironment, SignedFeedServer } from '../support/signed-feed-server.js';

/** `guidon server --processes` as an operator runs it: options, signals, and the end of the parent. */
const folder = temporaryFolder('processes');
const keyFile = join(folder.path, 'node.key');
let feed: SignedFeedServer;
let environment: FeedEnvironment;
let key = '';
let node: GuidonProcess | undefined;

beforeAll(async () => {
  feed = await new SignedFeedServer().start();
  environment = feed.addEnvironment('main');
  await environment.publish([aFlag('flag')]);
  key = await environment.issueCredential('srv');
  writeFileSync(keyFile, feed.nodeCredential, { mode: 0o600 });
});
afterEach(async () => {
  await node?.stop('SIGKILL');
});
afterAll(async () => {
  await feed.stop();
  folder.remove();
});

const serverArgs = (...args: string[]): string[] =>
  ['server', '--control-plane', feed.url, '--node-credential-file', keyFile, '--trust-root', feed.trustRoot].concat(
    ['--data', join(folder.path, 'node'), '--port', '0', '--metrics-port', '0'],
    args,
  );

async function start(
  ...args: string[]
): Promise<{ url: string; healthUrl: string; pids: number[]; parent: GuidonProcess }> {
  const parent = new GuidonProcess(serverArgs(...args));
  node = parent;
  const url = (await parent.waitFor(/data plane: (http\S+)/))[1] ?? '';
  const healthUrl = (await parent.waitFor(/health: (http\S+)/))[1] ?? '';
  await until('ready', async () => (await fetch(healthUrl)).status === 200);
  const pids = findProcesses(await (await fetch(`${healthUrl}?verbose`)).text()).map(({ pid }) => pid);
  return { url, healthUrl, pids, parent };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('guidon server --processes', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)(
    '%s: what was asked is answered, no process is left, status 0',
    async (signal) => {
      const { url, pids, parent, healthUrl } = await start('--processes', '2');
      expect(pids).toHaveLength(2);
      // Waits for a revision that does not come, for a second: longer than the signal takes.
      const connections = Array.from({ length: 8 }, () => new KeptConnection(url, key));
      const answers = connections.map((connection) =>
        connection.evaluate({ flags: 'flag', context: {}, minRevision: environment.revision + 1 }),
      );
      // Whoever still waits to be accepted when the port closes is refused by the system.
      await until('all are accepted', async () => {
        const metrics = new Metrics(await (await fetch(healthUrl.replace('readyz', 'metrics'))).text());
        const answered = metrics.value('guidon_http_requests_total{route="/v1/evaluate",status="409"}');
        return metrics.value('guidon_http_pending') + (answered || 0) === connections.length;
      });
      const status = parent.stop(signal);
      await until('not ready', async () => (await fetch(healthUrl).catch(() => undefined))?.status !== 200);
      for (const answer of await Promise.all(answers)) expect(answer.status).toBe(409);
      expect(await status).toBe(0);
      expect(pids.filter(isAlive)).toEqual([]);
    },
  );

  it('the parent killed: its children end too, and the next parent starts on the same store', async () => {
    const { pids, parent } = await start('--processes', '2');
    expect(await parent.stop('SIGKILL')).toBeNull();
    await until('no child is left', () => !pids.some(isAlive));
    const next = await start('--processes', '2');
    const { status, body } = await new KeptConnection(next.url, key).evaluate({ flags: 'flag', context: {} });
    expect({ status, ...body }).toMatchObject({ status: 200, value: 'no' });
    expect(await next.parent.stop('SIGTERM')).toBe(0);
  });

  it('a child whose parent is gone before it has been loaded ends', async () => {
    const child = fork(SERVER_PROCESS, [], { stdio: 'ignore' });
    child.disconnect();
    const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
    expect(await once(child, 'exit')).toEqual([0, null]);
    clearTimeout(timer);
  });

  it('a child that is asked to end drains and is replaced', async () => {
    const { pids, healthUrl, parent } = await start('--processes', '2');
    const [first = 0] = pids;
    process.kill(first, 'SIGTERM');
    await until('replaced', async () => {
      const now = findProcesses(await (await fetch(`${healthUrl}?verbose`)).text());
      return now.length === 2 && now.every(({ pid, isListening }) => isListening && pid !== first);
    });
    expect(await parent.stop('SIGTERM')).toBe(0);
  });

  it('1 is this process itself', async () => {
    const { pids, parent } = await start('--processes', '1');
    expect(pids).toEqual([]);
    expect(await parent.stop('SIGTERM')).toBe(0);
  });

  it.each([
    ['--processes', '0'],
    ['--processes', '65'],
    ['--processes', '1.5'],
    ['--processes', '-1'],
    ['--processes', '0x2'],
    ['--processes', 'all'],
    ['--processes', ''],
    ['--hang-seconds', '0'],
    ['--hang-seconds', '601'],
  ])('%s %j is refused with status 64', async (option, value) => {
    node = new GuidonProcess(serverArgs(`${option}=${value}`));
    expect(await node.exitStatus()).toBe(64);
    expect(node.output).toContain('Give a whole number from 1 to');
  });

  it('GUIDON_PROCESSES is refused alike, and both are in the help', async () => {
    node = new GuidonProcess(serverArgs(), { GUIDON_PROCESSES: '99' });
    expect(await node.exitStatus()).toBe(64);
    expect(node.output).toContain('Give a whole number from 1 to 64.');
    const help = new GuidonProcess(['server', '--help']);
    expect(await help.exitStatus()).toBe(0);
    expect(help.output).toMatch(/--processes <count>[\s\S]*GUIDON_PROCESSES[\s\S]*--hang-seconds/);
  });
});
