import { InProcessChangeBus } from '@guidon/protocol';
import { type RunningServer, type ServerOptions, startServer } from '@guidon/server';
import { pino } from 'pino';
import { TestControlPlane } from './control-plane.js';
import { removeTemporaryDirectories, temporaryDirectory, until } from './running-node.js';

/** One tenant of the platform, with an environment and a key of each kind. */
export interface StreamedTenant {
  readonly project: string;
  readonly environment: string;
  readonly environmentId: string;
  readonly srv: string;
  readonly web: string;
}

export const WEB_ORIGIN = 'https://shop.example';

/** A real control plane and a real node, joined by the in-process bus. */
export class StreamedPlatform {
  readonly plane: TestControlPlane;
  readonly bus: InProcessChangeBus;
  readonly #options: Partial<ServerOptions>;
  server: RunningServer;

  static async start(
    options: Partial<ServerOptions> = {},
    planeOptions: Parameters<typeof TestControlPlane.start>[0] = {},
  ): Promise<StreamedPlatform> {
    const bus = new InProcessChangeBus();
    const plane = await TestControlPlane.start({ ...planeOptions, bus });
    const nodeOptions = {
      dataDirectory: await temporaryDirectory(),
      nodeCredential: await plane.running.issueNodeCredential('node'),
      ...options,
    };
    return new StreamedPlatform(plane, bus, nodeOptions, await startNode(plane, bus, nodeOptions));
  }

  private constructor(
    plane: TestControlPlane,
    bus: InProcessChangeBus,
    options: Partial<ServerOptions>,
    server: RunningServer,
  ) {
    this.plane = plane;
    this.bus = bus;
    this.#options = options;
    this.server = server;
  }

  /** Ends the node and starts it again on its own disk, on the same port unless another is given. */
  async restartNode(port = this.server.port): Promise<void> {
    await this.server.close();
    this.server = await startNode(this.plane, this.bus, { ...this.#options, port });
  }

  async close(): Promise<void> {
    await this.server.close();
    await this.plane.stop();
    await this.bus.close();
    await removeTemporaryDirectories();
  }

  /** `flags`: JSON flags for clients with variations `on` ({value: key}) and `off` (null-like text), which are off. */
  async addTenant(key: string, flags: readonly string[] = ['gate']): Promise<StreamedTenant> {
    const tenant = await this.plane.must('POST', '/api/v1/tenants', { body: { key, name: key } });
    const path = `/api/v1/tenants/${tenant.body.id}`;
    await this.plane.must('POST', `${path}/projects`, { body: { key: 'shop', name: 'shop' } });
    const project = `${path}/projects/shop`;
    const made = await this.plane.must('POST', `${project}/environments`, { body: { key: 'dev', name: 'dev' } });
    const environment = `${project}/environments/dev`;
    for (const flag of flags) await this.addFlag({ project }, key, flag);
    const credential = (body: object) => this.plane.must('POST', `${environment}/credentials`, { body });
    const srv = await credential({ kind: 'srv', name: 'srv' });
    const web = await credential({ kind: 'web', name: 'web', allowedOrigins: [WEB_ORIGIN] });
    const streamed = {
      project,
      environment,
      environmentId: made.body.id,
      srv: srv.body.token,
      web: web.body.token,
    };
    await this.untilServed(streamed);
    return streamed;
  }

  /** Its values hold `canary`. */
  addFlag({ project }: Pick<StreamedTenant, 'project'>, canary: string, flag: string): Promise<unknown> {
    return this.plane.must('POST', `${project}/flags`, {
      body: {
        key: flag,
        type: 'string',
        clientSide: true,
        variations: [
          { key: 'on', value: `${canary}-${flag}-on` },
          { key: 'off', value: `${canary}-${flag}-off` },
        ],
        initialTargeting: { dev: { on: false, offVariation: 'off', fallthrough: { variation: 'on' } } },
      },
    });
  }

  /** Merges `targeting` into a flag's; resolves with the new revision, once the node serves it. */
  async change({ environment, environmentId }: StreamedTenant, flag: string, targeting: object): Promise<number> {
    const path = `${environment}/flags/${flag}/targeting`;
    const read = await this.plane.must('GET', path);
    await this.plane.must('PATCH', path, { body: targeting, headers: { 'if-match': String(read.headers.etag) } });
    const revision = await this.revision(environment);
    await until('the node has the change', () => (this.server.revisionOf(environmentId) ?? 0) >= revision);
    return revision;
  }

  async revision(environment: string): Promise<number> {
    return (await this.plane.must('GET', environment)).body.revision;
  }

  async revoke({ environment }: StreamedTenant, token: string): Promise<void> {
    const credential = `${environment}/credentials/${token.split('_')[2]}`;
    const read = await this.plane.must('GET', credential);
    await this.plane.must('POST', `${credential}/revoke`, { headers: { 'if-match': String(read.headers.etag) } });
  }

  /** Until the node serves what the control plane has and takes the keys. */
  async untilServed(tenant: StreamedTenant): Promise<void> {
    const revision = await this.revision(tenant.environment);
    await until(
      'the node serves the tenant',
      async () =>
        this.server.revisionOf(tenant.environmentId) === revision &&
        (await this.get('/v1/config', tenant.web)).status === 403 &&
        (await this.get('/v1/config', tenant.srv)).status === 307,
    );
  }

  get(path: string, key?: string, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(this.server.url + path, {
      redirect: 'manual',
      headers: { ...(key === undefined ? {} : { authorization: `Bearer ${key}` }), ...headers },
    });
  }

  async metric(sample: string): Promise<number> {
    const page = await (await fetch(`${this.server.metricsUrl}/metrics`)).text();
    const line = page.split('\n').find((candidate) => candidate.startsWith(`${sample} `));
    return line === undefined ? Number.NaN : Number(line.slice(line.lastIndexOf(' ')));
  }
}

function startNode(
  plane: TestControlPlane,
  bus: InProcessChangeBus,
  options: Partial<ServerOptions>,
): Promise<RunningServer> {
  return startServer({
    dataDirectory: '',
    nodeCredential: '',
    port: 0,
    metricsPort: 0,
    controlPlaneUrl: plane.running.url,
    trustRoot: plane.running.trustRoot,
    logger: pino({ level: 'silent' }),
    pollIntervalMs: 200,
    bus,
    ...options,
  });
}
