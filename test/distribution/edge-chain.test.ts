import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GuidonProcess } from '../support/guidon-process.js';
import { sendJson } from '../support/http.js';
import { Installation, type RunningGuidonNode } from '../support/installation.js';
import { freeLowPort } from '../support/nginx.js';
import { until } from '../support/running-node.js';

/**
 * Control plane -> node -> edge of two processes -> edge, as commands, each killed and started again in turn: the end of the chain answers all the time, comes to
 * what the control plane has, and never goes back (I7, I12, I14).
 */
const LINKS = ['node', 'middle', 'last'] as const;
type Link = (typeof LINKS)[number];

let installation: Installation;
let trustRoot = '';
const ports = new Map<Link, number>();
const running = new Map<Link, RunningGuidonNode>();
/** Of two tenants with equal names: the key, and the value that nobody else has. */
const tenants: { key: string; canary: string; environment: string }[] = [];

beforeAll(async () => {
  installation = await Installation.start();
  trustRoot = (await installation.controlPlane.waitFor(/trust root: (\S+)/))[1] ?? '';
  for (const name of ['a', 'b']) tenants.push(await addTenant(name));
  for (const link of LINKS) ports.set(link, await freeLowPort());
  for (const link of LINKS) await start(link);
  await untilEverywhere(tenants.map(({ key }) => key));
}, 60_000);
afterAll(async () => {
  for (const { process } of running.values()) await process.stop('SIGKILL');
  await installation.dispose();
});

async function addTenant(name: string): Promise<{ key: string; canary: string; environment: string }> {
  const { body } = await installation.must('POST', '/api/v1/tenants', { key: `same-${name}`, name: 'Same' });
  const projects = `/api/v1/tenants/${String(body.id)}/projects`;
  await installation.must('POST', projects, { key: 'shop', name: 'Shop' });
  const environment = `${projects}/shop/environments/production`;
  await installation.must('POST', `${projects}/shop/environments`, { key: 'production', name: 'Production' });
  const canary = `canary-of-${name}`;
  const variations = ['first', 'second'].map((key) => ({ key, value: `${canary}-${key}` }));
  const targeting = { on: true, offVariation: 'first', fallthrough: { variation: 'first' } };
  const flag = { key: 'banner', type: 'string', variations, initialTargeting: { production: targeting } };
  await installation.must('POST', `${projects}/shop/flags`, flag);
  return { key: await issueKey(environment), canary, environment };
}

async function issueKey(environment: string): Promise<string> {
  const made = await installation.must('POST', `${environment}/credentials`, { kind: 'srv', name: 'k' });
  return String(made.body.token);
}

const fileOf = (link: Link): string => join(installation.folder.path, `below-${link}.keys`);

/** On the port and the disk that it had before. */
async function start(link: Link): Promise<void> {
  const above = LINKS[LINKS.indexOf(link) - 1];
  const feed =
    above === undefined
      ? ['server', '--control-plane', installation.url, '--node-credential-file', installation.nodeCredentialFile]
      : ['edge', '--upstream', `http://127.0.0.1:${ports.get(above)}`, '--node-credential-file', fileOf(above)];
  const places = [
    '--data',
    join(installation.folder.path, link),
    '--port',
    `${ports.get(link)}`,
    '--metrics-port',
    '0',
  ];
  const process = new GuidonProcess([
    ...feed,
    ...places,
    '--trust-root',
    trustRoot,
    '--downstream-credential-file',
    fileOf(link),
    '--processes',
    link === 'middle' ? '2' : '1',
  ]);
  running.set(link, { process, url: `http://127.0.0.1:${ports.get(link)}`, metricsUrl: '' });
  await process.waitFor(/data plane: (http\S+)/);
}

async function kill(link: Link): Promise<void> {
  await running.get(link)?.process.stop('SIGKILL');
}

const evaluate = (link: Link, key: string) =>
  sendJson(`http://127.0.0.1:${ports.get(link)}/v1/evaluate`, {
    key,
    body: { flags: 'banner', context: { targetingKey: 'u' } },
  });

async function untilEverywhere(keys: readonly string[]): Promise<void> {
  for (const link of LINKS) {
    for (const key of keys) {
      await until(`${link} answers`, async () => (await evaluate(link, key)).status === 200, 30_000);
    }
  }
}

/** Resolves with the revision. */
async function serve(environment: string, variation: string): Promise<number> {
  const url = `${environment}/flags/banner/targeting`;
  const etag = (await installation.must('GET', url)).headers.get('etag') ?? '';
  const headers = { 'content-type': 'application/merge-patch+json', 'if-match': etag };
  return Number((await installation.must('PATCH', url, { fallthrough: { variation } }, headers)).body.revision);
}

/** Asks the end of the chain all the time; what went wrong, and the revisions in the order they came. */
function probe(key: string, canary: string): { stop: () => Promise<{ faults: string[]; revisions: number[] }> } {
  const faults: string[] = [];
  const revisions: number[] = [];
  let isStopped = false;
  const done = (async () => {
    while (!isStopped) {
      const answer = await evaluate('last', key).catch((error: unknown) => String(error));
      if (typeof answer === 'string') faults.push(answer);
      else if (answer.status !== 200 || !String(answer.body.value).startsWith(canary))
        faults.push(JSON.stringify(answer));
      else revisions.push(Number(answer.body.revision));
      await new Promise((wake) => setTimeout(wake, 10));
    }
  })();
  return {
    stop: async () => {
      isStopped = true;
      await done;
      return { faults, revisions };
    },
  };
}

describe('a chain of edges', () => {
  it('passes each tenant its own, in every format of the way', async () => {
    for (const { key, canary } of tenants) {
      const foreign = tenants.find((other) => other.canary !== canary)?.canary ?? '';
      for (const link of LINKS) {
        expect((await evaluate(link, key)).body).toMatchObject({ value: `${canary}-first` });
        const config = await fetch(`${running.get(link)?.url}/v1/config`, { headers: { 'x-api-key': key } });
        const definitions = Buffer.from(await config.arrayBuffer()).toString();
        expect([config.status, definitions.includes(foreign)]).toEqual([200, false]);
      }
    }
  });

  it.each(['control plane', ...LINKS])(
    'goes on while the %s is killed, and follows when it is back',
    async (link) => {
      const [tenant] = tenants;
      if (tenant === undefined) throw new Error('no tenant');
      const probing = link === 'last' ? undefined : probe(tenant.key, tenant.canary);
      if (link === 'control plane') {
        await installation.controlPlane.stop('SIGKILL');
        await new Promise((wake) => setTimeout(wake, 300));
        await installation.resumeControlPlane();
      } else {
        const one = LINKS.find((candidate) => candidate === link) ?? 'last';
        await kill(one);
        // Made while it is away.
        await serve(tenant.environment, 'second');
        await start(one);
      }
      const revision = await serve(tenant.environment, link === 'middle' ? 'second' : 'first');
      await until(
        'the end has the change',
        async () => Number((await evaluate('last', tenant.key)).body.revision) === revision,
        30_000,
      );
      const seen = await probing?.stop();
      expect(seen?.faults ?? []).toEqual([]);
      const revisions = seen?.revisions ?? [];
      expect(revisions).toEqual([...revisions].sort((x, y) => x - y));
    },
    60_000,
  );

  it('keeps a revoked key out and the others in when everything above is gone for good', async () => {
    const [tenant] = tenants;
    if (tenant === undefined) throw new Error('no tenant');
    const revoked = await issueKey(tenant.environment);
    await until('the end knows it', async () => (await evaluate('last', revoked)).status === 200, 30_000);
    const path = `${tenant.environment}/credentials/${revoked.split('_')[2]}`;
    const etag = (await installation.must('GET', path)).headers.get('etag') ?? '';
    await installation.must('POST', `${path}/revoke`, undefined, { 'if-match': etag });
    await until('the end refuses it', async () => (await evaluate('last', revoked)).status === 401, 30_000);
    const before = (await evaluate('last', tenant.key)).body;
    await installation.controlPlane.stop('SIGKILL');
    for (const link of LINKS) await kill(link);
    await start('last');
    expect((await evaluate('last', tenant.key)).body).toEqual(before);
    expect((await evaluate('last', revoked)).status).toBe(401);
  }, 60_000);
});

describe('guidon edge', () => {
  it.each([
    ['without an upstream', ['--trust-root', 'x'.repeat(43)], 64, /--upstream/],
    ['without a trust root', ['--upstream', 'http://127.0.0.1:1'], 64, /--trust-root/],
    ['with a trust root that is none', ['--upstream', 'http://127.0.0.1:1', '--trust-root', 'x'], 78, /43 characters/],
  ])('%s ends with a sentence', async (_, args, status, sentence) => {
    const command = new GuidonProcess(['edge', '--node-credential-file', installation.nodeCredentialFile, ...args]);
    expect(await command.exitStatus()).toBe(status);
    expect(command.output).toMatch(sentence);
  });
});
