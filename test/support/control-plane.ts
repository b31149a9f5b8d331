import { mkdtempSync, rmSync } from 'node:fs';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ControlPlaneOptions, type RunningControlPlane, startControlPlane } from '@guidon/control-plane';
import { type ChangeBus, InProcessChangeBus } from '@guidon/protocol';
import { pino } from 'pino';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly bytes: Buffer;
  /** The body as JSON; undefined when it is none. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  readonly body: any;
}

export interface CallOptions {
  readonly body?: unknown;
  /** Sent as it is instead of `body`. */
  readonly raw?: string | Buffer;
  readonly headers?: Record<string, string | string[]>;
  /** null = no credential. */
  readonly token?: string | null;
}

/** A control plane on a directory of its own, over real HTTP. */
export class TestControlPlane {
  readonly running: RunningControlPlane;
  readonly directory: string;
  readonly admin: string;
  readonly #ownBus: ChangeBus | undefined;

  static async start(
    options: Partial<Omit<ControlPlaneOptions, 'dataDirectory'>> & { directory?: string } = {},
  ): Promise<TestControlPlane> {
    const { directory = mkdtempSync(join(tmpdir(), 'guidon-control-plane-')), ...rest } = options;
    const bus = options.bus ?? new InProcessChangeBus();
    const logger = pino({ level: 'silent' });
    const running = await startControlPlane({ port: 0, logger, ...rest, dataDirectory: directory, bus });
    const admin = await running.createSystemCredential();
    return new TestControlPlane(running, directory, admin, options.bus === undefined ? bus : undefined);
  }

  private constructor(running: RunningControlPlane, directory: string, admin: string, ownBus: ChangeBus | undefined) {
    this.running = running;
    this.directory = directory;
    this.admin = admin;
    this.#ownBus = ownBus;
  }

  call(method: string, path: string, options: CallOptions = {}): Promise<Answer> {
    const { token = this.admin, body, raw } = options;
    const content = raw ?? (body === undefined ? undefined : JSON.stringify(body));
    const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    const headers = {
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...(content === undefined ? {} : { 'content-type': type, 'content-length': String(Buffer.byteLength(content)) }),
      ...options.headers,
    };
    return send(this.running.port, method, path, headers, content);
  }

  /** Calls and throws when the answer is no success: for what a test only needs to be there. */
  async must(method: string, path: string, options: CallOptions = {}): Promise<Answer> {
    const answer = await this.call(method, path, options);
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
    return answer;
  }

  /** A tenant with project `shop` and environments `dev` and `prod`. */
  async seed(key = 'acme'): Promise<Seed> {
    const tenant = await this.must('POST', '/api/v1/tenants', { body: { key, name: key } });
    const tenantPath = `/api/v1/tenants/${tenant.body.id}`;
    await this.must('POST', `${tenantPath}/projects`, { body: { key: 'shop', name: 'Shop' } });
    const project = `${tenantPath}/projects/shop`;
    const dev = await this.must('POST', `${project}/environments`, { body: { key: 'dev', name: 'Dev' } });
    const prod = await this.must('POST', `${project}/environments`, { body: { key: 'prod', name: 'Prod' } });
    const admin = await this.must('POST', `${tenantPath}/admin-credentials`, { body: { name: `${key} admin` } });
    return {
      tenantId: tenant.body.id,
      tenant: tenantPath,
      project,
      dev: { id: dev.body.id, path: `${project}/environments/dev` },
      prod: { id: prod.body.id, path: `${project}/environments/prod` },
      token: admin.body.token,
    };
  }

  async stop(): Promise<void> {
    await this.running.close();
    await this.#ownBus?.close();
  }

  async dispose(): Promise<void> {
    await this.stop();
    rmSync(this.directory, { recursive: true });
  }
}

export interface Seed {
  readonly tenantId: string;
  readonly tenant: string;
  readonly project: string;
  readonly dev: { readonly id: string; readonly path: string };
  readonly prod: { readonly id: string; readonly path: string };
  /** Of a tenant admin. */
  readonly token: string;
}

/** A body for `POST …/flags`. */
export function booleanFlag(key: string): Record<string, unknown> {
  return {
    key,
    name: key,
    type: 'boolean',
    variations: [
      { key: 'on', value: true },
      { key: 'off', value: false },
    ],
  };
}

function send(
  port: number,
  method: string,
  path: string,
  headers: Record<string, string | string[]>,
  content: string | Buffer | undefined,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host: '127.0.0.1', port, method, path, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const bytes = Buffer.concat(chunks);
        const text = bytes.toString('utf8');
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text, bytes, body: parse(text) });
      });
    });
    request.on('error', reject);
    request.end(content);
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
