import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { GuidonProcess, REPOSITORY } from '../support/guidon-process.js';
import { type Answer, sendJson } from '../support/http.js';
import type { CompatCase, RecordedExchange } from './compat-case.js';

/**
 * Makes the fixture of one format, with the code of that time: `node test/dist/compat/make-fixture.js COMMIT`, in a repository whose history has
 * the commit. Checks it out into a temporary folder, builds it with the packages installed here, lets its `guidon control-plane` and
 * `guidon server` make some revisions, records what the node asked and was answered, and packs both data folders. Then each old process meets
 * a new one (the build here), and what happened is printed: the only proof of that which needs an old build.
 */
const [commit = 'HEAD'] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'guidon-compat-'));
const checkout = join(folder, 'checkout');
const CONTEXTS = [
  { targetingKey: 'u-1' },
  { targetingKey: 'u-2', country: 'DE' },
  { targetingKey: 'u-3', plan: 'pro' },
];

run('git', ['clone', '-q', '--shared', REPOSITORY, checkout]);
run('git', ['-C', checkout, 'checkout', '-q', commit]);
linkPackages();
run('npm', ['run', 'build', '--silent'], checkout);
const OLD = join(checkout, 'cli/dist/main.js');
const NEW = join(REPOSITORY, 'cli/dist/main.js');

const data = join(folder, 'data');
mkdirSync(data);
const keyFile = join(data, 'node.key');
const controlPlane = startControlPlane(OLD);
const url = (await controlPlane.waitFor(/control plane: (http\S+)/))[1] ?? '';
const setupUrl = new URL((await controlPlane.waitFor(/first admin: (http\S+)/))[1] ?? '');
const trustRoot = (await controlPlane.waitFor(/trust root\D*?([A-Za-z0-9_-]{43})/))[1] ?? '';
const setup = await sendJson(`${url}/api/v1/setup`, { body: { token: setupUrl.hash.slice(1), name: 'compat' } });
const admin = String(setup.body.token);
const { tenantId, environmentPath, environmentId, serverKey } = await seed();
const exchanges: RecordedExchange[] = [];
const proxy = await startProxy();
const node = startNode(OLD, proxy.url);
const nodeUrl = (await node.waitFor(/data plane: (http\S+)/))[1] ?? '';
const answers = await untilAnswered(nodeUrl);
const { items } = (await must('GET', `/api/v1/tenants/${tenantId}/audit?limit=100`)).body;
const compatCase: CompatCase = {
  commit: run('git', ['-C', checkout, 'rev-parse', '--short', 'HEAD']).trim(),
  snapshotFormat: numberIn('engine/compile/layout.ts', /SNAPSHOT_FORMAT_VERSION = (\d+)/),
  storeFormat: numberIn('control-plane/store/control-store.ts', /STORE_FORMAT_VERSION = (\d+)/),
  trustRoot,
  admin,
  tenantId,
  environmentPath,
  environmentId,
  serverKey,
  revision: Number((await must('GET', environmentPath)).body.revision),
  answers,
  auditActions: Array.isArray(items) ? items.map((item: { action: string }) => item.action) : [],
  exchanges,
};
await node.stop('SIGTERM');
await controlPlane.stop('SIGTERM');
writeFileSync(join(data, 'case.json'), JSON.stringify(compatCase, undefined, 1));
const file = `format-${String(compatCase.snapshotFormat).padStart(2, '0')}-store-${compatCase.storeFormat}.tgz`;
const fixtures = join(REPOSITORY, 'test/compat/fixtures');
const packed = readdirSync(data, { recursive: true, encoding: 'utf8' }).filter(
  (path) => !path.endsWith('lock.mdb') && !path.endsWith('.lock'),
);
const files = packed.filter((path) => /\.[a-z]+$|key-set$/.test(path));
run('tar', ['czf', join(fixtures, file), '--owner=0', '--group=0', '-C', data, ...files]);
console.log(
  `${file}: ${commit}, revision ${compatCase.revision}, ${exchanges.length} exchanges, packed ${files.join(' ')}`,
);
await meet('an old node at a new control plane', NEW, OLD);
await meet('a new node at an old control plane', OLD, NEW);
proxy.close();
rmSync(folder, { recursive: true, force: true });

function run(command: string, args: readonly string[], cwd?: string): string {
  const { status, stdout, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    ...(cwd === undefined ? {} : { cwd }),
  });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

/** Packages from outside are those installed here; those of the repository are the old ones. */
function linkPackages(): void {
  for (const from of ['node_modules', 'bench/node_modules', 'test/node_modules']) {
    const source = join(REPOSITORY, from);
    if (!existsSync(source) || !existsSync(dirname(join(checkout, from)))) continue;
    const target = join(checkout, from);
    mkdirSync(target);
    for (const entry of readdirSync(source)) {
      if (entry === '@guidon')
        cpSync(join(source, entry), join(target, entry), { recursive: true, verbatimSymlinks: true });
      else symlinkSync(resolve(source, entry), join(target, entry));
    }
  }
}

function numberIn(path: string, pattern: RegExp): number {
  return Number(pattern.exec(readFileSync(join(checkout, path), 'utf8'))?.[1]);
}

function startControlPlane(main: string, directory = data): GuidonProcess {
  const places = ['--data', join(directory, 'cp'), '--node-credential-file', keyFile, '--port', '0'];
  return new GuidonProcess(['control-plane', ...places], {}, main);
}

function startNode(main: string, source: string, directory = data): GuidonProcess {
  const places = ['--data', join(directory, 'node'), '--port', '0', '--metrics-port', '0', '--log-level', 'warn'];
  const trust = ['--trust-root', trustRoot, '--node-credential-file', keyFile];
  return new GuidonProcess(['server', '--control-plane', source, ...trust, ...places], {}, main);
}

async function must(method: string, path: string, body?: object, headers = {}, base = url): Promise<Answer> {
  const type = method === 'PATCH' ? { 'content-type': 'application/merge-patch+json' } : {};
  const sending = { method, key: admin, headers: { ...type, ...headers }, ...(body === undefined ? {} : { body }) };
  const answer = await sendJson(base + path, sending);
  if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer;
}

async function seed() {
  const tenant = String((await must('POST', '/api/v1/tenants', { key: 'acme', name: 'Acme' })).body.id);
  const projects = `/api/v1/tenants/${tenant}/projects`;
  await must('POST', projects, { key: 'shop', name: 'Shop' });
  const made = await must('POST', `${projects}/shop/environments`, { key: 'production', name: 'Production' });
  const environment = `${projects}/shop/environments/production`;
  await must('POST', `${projects}/shop/flags`, { key: 'gate', type: 'boolean' });
  const variations = ['plain', 'german', 'pro'].map((key) => ({ key, value: `value ${key}` }));
  await must('POST', `${projects}/shop/flags`, { key: 'greeting', type: 'string', variations });
  await must('POST', `${environment}/segments`, { key: 'vip', included: [{ keys: ['u-1', 'u-9'] }] });
  await patch(environment, 'gate', { on: true, fallthrough: { variation: 'on' } });
  const german = { attribute: 'country', op: 'in', values: ['DE', 'AT'] };
  await patch(environment, 'greeting', {
    on: true,
    offVariation: 'plain',
    rules: [
      { id: 'german', when: german, serve: { variation: 'german' } },
      { id: 'vip', when: { segment: ['vip'] }, serve: { variation: 'pro' } },
    ],
    fallthrough: { variation: 'plain' },
  });
  const key = await must('POST', `${environment}/credentials`, { kind: 'srv', name: 'compat' });
  return {
    tenantId: tenant,
    environmentPath: environment,
    environmentId: String(made.body.id),
    serverKey: String(key.body.token),
  };
}

async function patch(environment: string, flag: string, targeting: object, base = url): Promise<number> {
  const path = `${environment}/flags/${flag}/targeting`;
  const etag = (await must('GET', path, undefined, {}, base)).headers.get('etag') ?? '';
  return Number((await must('PATCH', path, targeting, { 'if-match': etag }, base)).body.revision);
}

/** Passes on what a node asks, and keeps one exchange of each kind. */
async function startProxy(): Promise<{ readonly url: string; readonly close: () => void }> {
  const server = createServer((incoming, outgoing) => {
    const { method = 'GET', url: path = '/', headers } = incoming;
    const outward = httpRequest(url + path, { method, headers }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('end', () => {
        const status = answer.statusCode ?? 0;
        const body = Buffer.concat(chunks);
        const kept = exchanges.findIndex((one) => one.method === method && one.path === path && one.status === status);
        if (kept >= 0) exchanges.splice(kept, 1);
        const { 'content-type': type = '', etag = '' } = answer.headers;
        exchanges.push({ method, path, status, type, etag, body: body.toString('base64') });
        outgoing.writeHead(status, answer.headers).end(body);
      });
    });
    outward.on('error', () => outgoing.writeHead(502).end());
    incoming.pipe(outward);
  }).listen(0, '127.0.0.1');
  await new Promise((wake) => server.once('listening', wake));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${port}`, close };
}

async function untilAnswered(
  base: string,
  isDone = (value: unknown): boolean => value === true,
): Promise<CompatCase['answers']> {
  const deadlineMs = performance.now() + 30_000;
  for (;;) {
    const all: CompatCase['answers'][number][] = [];
    for (const context of CONTEXTS) {
      for (const flag of ['gate', 'greeting']) {
        const answer = await sendJson(`${base}/v1/evaluate`, { key: serverKey, body: { flags: flag, context } });
        all.push({ flag, context, status: answer.status, value: answer.body.value });
      }
    }
    if (all.every(({ status }) => status === 200) && isDone(all[0]?.value)) return all;
    if (performance.now() > deadlineMs) throw new Error(`the node never answered: ${JSON.stringify(all)}`);
    await new Promise((wake) => setTimeout(wake, 100));
  }
}

/** Both on copies of the old folders; a change has to reach the node. */
async function meet(what: string, controlPlaneMain: string, nodeMain: string): Promise<void> {
  const directory = mkdtempSync(join(folder, 'meet-'));
  cpSync(data, directory, { recursive: true });
  const plane = startControlPlane(controlPlaneMain, directory);
  let other: GuidonProcess | undefined;
  try {
    const base = (await plane.waitFor(/control plane: (http\S+)/))[1] ?? '';
    other = startNode(nodeMain, base, directory);
    const at = (await other.waitFor(/data plane: (http\S+)/))[1] ?? '';
    await untilAnswered(at);
    await patch(environmentPath, 'gate', { on: false }, base);
    await untilAnswered(at, (value): boolean => value === false);
    console.log(`${commit}: ${what}: a change arrives`);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    console.log(`${commit}: ${what}: FAILED: ${reason}\n${other?.output ?? ''}`);
  } finally {
    await other?.stop('SIGKILL');
    await plane.stop('SIGKILL');
  }
}
