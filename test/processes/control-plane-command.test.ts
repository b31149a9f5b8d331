import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { ControlStore } from '@guidon/control-plane/store/control-store.js';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { GuidonProcess, temporaryFolder } from '../support/guidon-process.js';
import { sendJson } from '../support/http.js';
import { until } from '../support/running-node.js';

/** `guidon control-plane` as an operator runs it: one process that works, one that watches it. */
const folder = temporaryFolder('control-plane-command');
/** Backoff and start of a process on a busy machine. */
const RESTART_MS_MAX = 30_000;
vi.setConfig({ testTimeout: 60_000 });
let dataCount = 0;
let running: GuidonProcess | undefined;

afterEach(async () => {
  await running?.stop('SIGKILL');
});
afterAll(() => folder.remove());

const newData = (): string => {
  dataCount += 1;
  return join(folder.path, String(dataCount));
};

interface Started {
  readonly parent: GuidonProcess;
  readonly data: string;
  readonly url: string;
  readonly healthUrl: string;
  readonly admin: string;
}

async function start(args: string[] = [], data = newData()): Promise<Started> {
  const parent = new GuidonProcess(['control-plane', '--data', data, '--port', '0', ...args]);
  running = parent;
  const healthUrl = (await parent.waitFor(/health: (\S+)/))[1] ?? '';
  const url = /control plane: (\S+)/.exec(parent.output)?.[1] ?? '';
  const token = /setup#(\S+)/.exec(parent.output)?.[1];
  const admin = token === undefined ? '' : await setUp(url, token);
  await until('ready', async () => (await statusOf(healthUrl)) === 200);
  return { parent, data, url, healthUrl, admin };
}

async function setUp(url: string, token: string): Promise<string> {
  return String((await sendJson(`${url}/api/v1/setup`, { body: { token, name: 'me' } })).body.token);
}

async function statusOf(healthUrl: string): Promise<number | undefined> {
  return (await fetch(healthUrl).catch(() => undefined))?.status;
}

/** The process that works; undefined between two. */
async function workerOf(healthUrl: string): Promise<number | undefined> {
  const text = await (await fetch(`${healthUrl}?verbose`)).text();
  const pid = /pid (\d+) listening/.exec(text)?.[1];
  return pid === undefined ? undefined : Number(pid);
}

async function mustFindWorker(healthUrl: string): Promise<number> {
  const pid = await workerOf(healthUrl);
  if (pid === undefined) throw new Error('no process works');
  return pid;
}

async function untilReplaced(healthUrl: string, before: number): Promise<void> {
  await until(
    'replaced',
    async () => {
      const now = await workerOf(healthUrl);
      return now !== undefined && now !== before && (await statusOf(healthUrl)) === 200;
    },
    RESTART_MS_MAX,
  );
}

const createTenant = ({ url, admin }: Started, key: string) =>
  sendJson(`${url}/api/v1/tenants`, { key: admin, body: { key, name: key } });

async function tenantKeys({ url, admin }: Started): Promise<string[]> {
  const { body } = await sendJson(`${url}/api/v1/tenants?limit=100`, { key: admin });
  return Array.isArray(body.items) ? body.items.map(({ key }) => String(key)) : [];
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('guidon control-plane', () => {
  it('starts anew on the same port what was killed; everything acknowledged is there, and /readyz said the truth', async () => {
    const started = await start();
    const worker = await mustFindWorker(started.healthUrl);
    expect((await createTenant(started, 'before')).status).toBe(201);
    process.kill(worker, 'SIGKILL');
    await until('not ready', async () => (await statusOf(started.healthUrl)) === 503);
    await untilReplaced(started.healthUrl, worker);
    expect(await tenantKeys(started)).toEqual(['before']);
    const metrics = await (await fetch(started.healthUrl.replace('readyz', 'metrics'))).text();
    expect(metrics).toMatch(/^guidon_process_starts_total 2$/m);
    expect(metrics).toMatch(/^guidon_store_writable 1$/m);
    expect(metrics).toMatch(
      /^guidon_http_request_duration_seconds_count\{method="GET",route="\/api\/v1\/tenants",status="200"\} 1$/m,
    );
    expect(await started.parent.stop('SIGTERM')).toBe(0);
  });

  it('kills and replaces a process that hangs; until then it is not ready', async () => {
    const started = await start(['--hang-seconds', '1']);
    const worker = await mustFindWorker(started.healthUrl);
    process.kill(worker, 'SIGSTOP');
    await until('not ready', async () => (await statusOf(started.healthUrl)) === 503);
    await untilReplaced(started.healthUrl, worker);
    expect(isAlive(worker)).toBe(false);
    expect(started.parent.output).toMatch(/hangs; it is ended/);
    expect((await createTenant(started, 'after')).status).toBe(201);
  });

  it('I3: a commit that fails is answered with 503, and the process that had it is replaced', async () => {
    const started = await start();
    const worker = await mustFindWorker(started.healthUrl);
    expect((await createTenant(started, 'kept')).status).toBe(201);
    // From now on this process, and it alone, may not write behind the first page of any file.
    expect(spawnSync('prlimit', ['--pid', String(worker), '--fsize=4096']).status).toBe(0);
    const failed = await createTenant(started, 'lost');
    expect(failed).toMatchObject({
      status: 503,
      body: { code: expect.stringMatching(/storage-unavailable|outcome-unknown/) },
    });
    await untilReplaced(started.healthUrl, worker);
    expect(await tenantKeys(started)).toEqual(['kept']);
    expect((await createTenant(started, 'after')).status).toBe(201);
  });

  it.each(['SIGTERM', 'SIGINT'] as const)(
    '%s: not ready first, what was asked is answered, status 0',
    async (signal) => {
      const started = await start();
      const worker = await mustFindWorker(started.healthUrl);
      const body = JSON.stringify({ key: 'slow', name: 'slow' });
      const answered = new Promise<number | undefined>((resolve, reject) => {
        const sent = request(
          `${started.url}/api/v1/tenants`,
          {
            method: 'POST',
            headers: {
              authorization: `Bearer ${started.admin}`,
              'content-type': 'application/json',
              'content-length': body.length,
            },
          },
          (response) => {
            response.resume();
            response.on('end', () => resolve(response.statusCode));
          },
        );
        sent.on('error', reject);
        sent.write(body.slice(0, 5));
        // The rest comes when nobody new is let in any more.
        void until('the headers have arrived', async () => sent.socket?.bytesWritten !== 0)
          .then(() => new Promise((wake) => setTimeout(wake, 200)))
          .then(() => void started.parent.child.kill(signal))
          .then(() => until('not ready', async () => (await statusOf(started.healthUrl)) !== 200))
          .then(() => sent.end(body.slice(5)), reject);
      });
      expect(await answered).toBe(201);
      expect(await started.parent.exitStatus()).toBe(0);
      expect(isAlive(worker)).toBe(false);
    },
  );

  it('the parent killed: the process that works ends too, and the next parent starts on the same store', async () => {
    const started = await start();
    const worker = await mustFindWorker(started.healthUrl);
    expect((await createTenant(started, 'kept')).status).toBe(201);
    await started.parent.stop('SIGKILL');
    await until('no process is left', () => !isAlive(worker));
    const next = await start([], started.data);
    expect(await tenantKeys({ ...next, admin: started.admin })).toEqual(['kept']);
  });

  it('--no-supervisor: one process, with health of its own, that nobody starts anew', async () => {
    const started = await start(['--no-supervisor']);
    expect(await workerOf(started.healthUrl)).toBeUndefined();
    expect((await createTenant(started, 'one')).status).toBe(201);
    const text = await (await fetch(`${started.healthUrl}?verbose`)).text();
    expect(text).toMatch(/^ready\nstore takes writes\nfree \d+ MiB\n$/);
    expect(await started.parent.stop('SIGTERM')).toBe(0);
  });

  it.each([[[]], [['--no-supervisor']]])(
    'a store that cannot be opened: its sentence and status 78 at once %j',
    async (args) => {
      const data = newData();
      mkdirSync(join(data, 'store'), { recursive: true });
      writeFileSync(join(data, 'store', 'data.mdb'), 'x'.repeat(5_000));
      running = new GuidonProcess(['control-plane', '--data', data, '--port', '0', ...args]);
      expect(await running.exitStatus()).toBe(78);
      expect(running.output).toMatch(/guidon: .* is missing although there is a store/);
    },
  );
});

describe('ControlStore.findObstacle()', () => {
  it('says that free space is short, and nothing when it is not', async () => {
    const directory = newData();
    const store = await ControlStore.open({ directory, freeBytesMin: 0 });
    expect(store.findObstacle()).toBeUndefined();
    await store.close();
    const full = await ControlStore.open({ directory, freeBytesMin: Number.MAX_SAFE_INTEGER });
    expect(full.findObstacle()).toBe('the file system has too little free space');
    await expect(full.transaction(() => undefined)).rejects.toMatchObject({ code: 'storage-unavailable' });
    await full.close();
  });
});
