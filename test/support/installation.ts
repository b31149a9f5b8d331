import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { GuidonProcess, temporaryFolder } from './guidon-process.js';
import { type Answer, sendJson } from './http.js';

export interface RunningGuidonNode {
  readonly process: GuidonProcess;
  readonly url: string;
  readonly metricsUrl: string;
}

/** A control plane and nodes as processes of their own, on free ports of loopback, with a tenant and one boolean flag `gate`. */
export class Installation {
  controlPlane: GuidonProcess;
  url = '';
  admin = '';
  /** Of the environment `production`. */
  environmentUrl = '';
  environmentId = '';
  tenantId = '';
  serverKey = '';
  readonly folder = temporaryFolder('installation');
  readonly #arguments: readonly string[];
  readonly #nodes = new Set<GuidonProcess>();
  #port = '0';

  /** `busArguments` go to the control plane and to every node. */
  static async start(busArguments: readonly string[] = []): Promise<Installation> {
    const installation = new Installation(busArguments);
    await installation.resumeControlPlane();
    await installation.#seed();
    return installation;
  }

  private constructor(busArguments: readonly string[]) {
    this.#arguments = busArguments;
    this.controlPlane = this.#spawnControlPlane();
  }

  get nodeCredentialFile(): string {
    return join(this.folder.path, 'node.key');
  }

  get nodeCredential(): string {
    return readFileSync(this.nodeCredentialFile, 'utf8').trim();
  }

  /** On the same port and data as before. */
  async resumeControlPlane(): Promise<void> {
    if (this.controlPlane.child.exitCode !== null || this.controlPlane.child.signalCode !== null) {
      this.controlPlane = this.#spawnControlPlane();
    }
    this.url = (await this.controlPlane.waitFor(/control plane: (http\S+)/))[1] ?? '';
    await this.controlPlane.waitFor(/trust root/);
    this.#port = new URL(this.url).port;
  }

  #spawnControlPlane(): GuidonProcess {
    const places = ['--data', join(this.folder.path, 'cp'), '--node-credential-file', this.nodeCredentialFile];
    return new GuidonProcess(['control-plane', ...places, '--port', this.#port, ...this.#arguments]);
  }

  /** Nodes of the same name share their data, one after the other. */
  async startNode(name: string, more: readonly string[] = []): Promise<RunningGuidonNode> {
    const source = ['--control-plane', this.url, '--node-credential-file', this.nodeCredentialFile];
    const places = ['--data', join(this.folder.path, name), '--port', '0', '--metrics-port', '0'];
    const process = new GuidonProcess(['server', ...source, ...places, ...this.#arguments, ...more]);
    this.#nodes.add(process);
    const [, url = '', metricsUrl = ''] = await process.waitFor(/data plane: (http\S+)\s+health: (http\S+)\/readyz/);
    return { process, url, metricsUrl };
  }

  /** Asks the admin API and throws when the answer is no success. */
  async must(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const url = path.startsWith('http') ? path : this.url + path;
    const answer = await sendJson(url, { method, key: this.admin, headers, ...(body === undefined ? {} : { body }) });
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer;
  }

  /** Turns `gate` on or off; resolves with the revision once the control plane has acknowledged it. */
  async turn(on: boolean, headers: Record<string, string> = {}): Promise<number> {
    return Number((await this.turnAnswer(on, headers)).body.revision);
  }

  async turnAnswer(on: boolean, headers: Record<string, string> = {}): Promise<Answer> {
    const url = `${this.environmentUrl}/flags/gate/targeting`;
    const etag = (await this.must('GET', url)).headers.get('etag') ?? '';
    return this.must(
      'PATCH',
      url,
      { on, fallthrough: { variation: 'on' } },
      {
        'content-type': 'application/merge-patch+json',
        'if-match': etag,
        ...headers,
      },
    );
  }

  /** The answer of a node to `gate`. */
  evaluate(node: RunningGuidonNode, key = this.serverKey): Promise<Answer> {
    return sendJson(`${node.url}/v1/evaluate`, { key, body: { flags: 'gate', context: { targetingKey: 'u' } } });
  }

  /** Milliseconds until the node answers with at least `revision`; rejects after `timeoutMs`. */
  async untilServed(node: RunningGuidonNode, revision: number, timeoutMs = 20_000): Promise<number> {
    const startedMs = performance.now();
    for (;;) {
      const answer = await this.evaluate(node);
      const tookMs = performance.now() - startedMs;
      if (Number(answer.body.revision) >= revision) return tookMs;
      if (tookMs > timeoutMs) throw new Error(`revision ${revision} never came: ${JSON.stringify(answer.body)}`);
      await new Promise((wake) => setTimeout(wake, 5));
    }
  }

  async dispose(): Promise<void> {
    await Promise.all([...this.#nodes].map((node) => node.stop('SIGKILL')));
    await this.controlPlane.stop('SIGKILL');
    this.folder.remove();
  }

  async #seed(): Promise<void> {
    const setup = new URL((await this.controlPlane.waitFor(/first admin: (http\S+)/))[1] ?? '');
    const body = { token: setup.hash.slice(1), name: 'me' };
    this.admin = String((await sendJson(`${this.url}/api/v1/setup`, { body })).body.token);
    this.tenantId = String((await this.must('POST', '/api/v1/tenants', { key: 'acme', name: 'Acme' })).body.id);
    const projects = `${this.url}/api/v1/tenants/${this.tenantId}/projects`;
    await this.must('POST', projects, { key: 'shop', name: 'Shop' });
    const environment = { key: 'production', name: 'Production' };
    this.environmentId = String((await this.must('POST', `${projects}/shop/environments`, environment)).body.id);
    this.environmentUrl = `${projects}/shop/environments/production`;
    await this.must('POST', `${projects}/shop/flags`, { key: 'gate', type: 'boolean' });
    this.serverKey = await this.issueKey();
  }

  async issueKey(): Promise<string> {
    const key = { kind: 'srv', name: `key ${Math.random()}` };
    return String((await this.must('POST', `${this.environmentUrl}/credentials`, key)).body.token);
  }
}
