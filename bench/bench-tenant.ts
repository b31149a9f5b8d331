import type { RunningControlPlane } from '@guidon/control-plane';
import type { FlagDefinition } from '@guidon/engine';

/** A tenant with one environment on a real control plane, and the admin API as a user of it sees it. */
export class BenchTenant {
  readonly #baseUrl: string;
  readonly #credential: string;
  readonly projectPath: string;
  readonly environmentPath: string;
  /** A `srv` token of the environment. */
  readonly serverKey: string;

  static async create(controlPlane: RunningControlPlane): Promise<BenchTenant> {
    const baseUrl = `${controlPlane.url}/api/v1`;
    const credential = await controlPlane.createSystemCredential();
    const post = async (path: string, body: object) => (await send(baseUrl, credential, 'POST', path, body)).body;
    const tenant = await post('/tenants', { key: 'bench', name: 'Bench' });
    const projects = `/tenants/${String(tenant.id)}/projects`;
    await post(projects, { key: 'bench', name: 'Bench' });
    const projectPath = `${projects}/bench`;
    await post(`${projectPath}/environments`, { key: 'bench', name: 'Bench' });
    const { token } = await post(`${projectPath}/environments/bench/credentials`, { kind: 'srv', name: 'bench' });
    return new BenchTenant(baseUrl, credential, projectPath, String(token));
  }

  private constructor(baseUrl: string, credential: string, projectPath: string, serverKey: string) {
    this.#baseUrl = baseUrl;
    this.#credential = credential;
    this.projectPath = projectPath;
    this.environmentPath = `${projectPath}/environments/bench`;
    this.serverKey = serverKey;
  }

  /** The admin API makes the salt itself, so a split differs from run to run within its tolerance. */
  async createFlag({ key, type, variations, ...definition }: FlagDefinition): Promise<void> {
    const { on, offVariation, rules, fallthrough } = definition;
    const initialTargeting = { bench: { on, offVariation, rules, fallthrough } };
    await this.send('POST', `${this.projectPath}/flags`, { key, type, variations, initialTargeting });
  }

  /** `body` as JSON, or as it is when it is text (NDJSON). Throws when the answer is no 2xx. */
  send(
    method: string,
    path: string,
    body?: object | string,
    headers: Record<string, string> = {},
  ): Promise<AdminAnswer> {
    return send(this.#baseUrl, this.#credential, method, path, body, headers);
  }
}

export interface AdminAnswer {
  readonly body: Readonly<Record<string, unknown>>;
  readonly etag: string;
}

async function send(
  baseUrl: string,
  credential: string,
  method: string,
  path: string,
  body?: object | string,
  headers: Record<string, string> = {},
): Promise<AdminAnswer> {
  const mediaType = typeof body === 'string' ? 'application/x-ndjson' : 'application/json';
  const response = await fetch(`${baseUrl}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${credential}`,
      ...(body === undefined ? {} : { 'content-type': mediaType }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${text}`);
  return { body: text === '' ? {} : JSON.parse(text), etag: response.headers.get('etag') ?? '' };
}
