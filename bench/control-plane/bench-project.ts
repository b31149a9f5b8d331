import { w2Flag } from '../workloads.js';
import { type AdminConnection, MERGE_PATCH_TYPE } from './admin-connection.js';

/** One person who edits one flag's rollout again and again, each time to what it has never been, knowing the version of his own last edit. */
export class FlagWriter {
  readonly #connection: AdminConnection;
  readonly #path: string;
  #version = 1;

  constructor(connection: AdminConnection, project: BenchProject, environment: number, flagKey: string) {
    const environmentKey = project.environmentKeys[environment] ?? '';
    this.#connection = connection;
    this.#path = `${project.projectPath}/environments/${environmentKey}/flags/${flagKey}/targeting`;
  }

  async write(): Promise<void> {
    const weight = this.#version % 100_000;
    const weights = [
      { variation: 'treatment', weight },
      { variation: 'control', weight: 100_000 - weight },
    ];
    const body = JSON.stringify({ fallthrough: { rollout: { weights } } });
    await this.#connection.send('PATCH', this.#path, MERGE_PATCH_TYPE, body, `"${this.#version}"`);
    this.#version += 1;
  }
}

/** A tenant with a project and its environments. */
export interface BenchProject {
  readonly tenantPath: string;
  readonly projectPath: string;
  readonly environmentKeys: readonly string[];
}

export async function createProject(
  admin: AdminConnection,
  key: string,
  environmentCount: number,
): Promise<BenchProject> {
  const { id } = await admin.post('/tenants', { key, name: key });
  const tenantPath = `/tenants/${String(id)}`;
  await admin.post(`${tenantPath}/projects`, { key: 'bench', name: 'Bench' });
  const projectPath = `${tenantPath}/projects/bench`;
  const environmentKeys = Array.from({ length: environmentCount }, (_, index) => `environment-${index}`);
  for (const environment of environmentKeys) {
    await admin.post(`${projectPath}/environments`, { key: environment, name: environment });
  }
  return { tenantPath, projectPath, environmentKeys };
}

/** Flags of kind W2, on in all environments of the project. Many at a time: `admins` are connections. */
export async function createFlags(
  admins: readonly AdminConnection[],
  { projectPath, environmentKeys }: BenchProject,
  keys: readonly string[],
): Promise<void> {
  const waiting = keys.entries();
  const work = async (admin: AdminConnection) => {
    for (const [index, key] of waiting) {
      const { type, variations, on, offVariation, rules, fallthrough } = w2Flag(key, index);
      const targeting = { on, offVariation, rules, fallthrough };
      const initialTargeting = Object.fromEntries(environmentKeys.map((environment) => [environment, targeting]));
      await admin.post(`${projectPath}/flags`, { key, name: key, type, variations, initialTargeting });
    }
  };
  await Promise.all(admins.map(work));
}

export const flagKeyOf = (index: number): string => `flag-${String(index).padStart(5, '0')}`;

/** The token of somebody whose roles are looked up and decided by, as most writers are. */
export async function createMember(admin: AdminConnection, { tenantPath }: BenchProject): Promise<string> {
  const body = { name: 'editor', roles: ['editor'] };
  return String((await admin.post(`${tenantPath}/admin-credentials`, body)).token);
}
