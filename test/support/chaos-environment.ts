import { setTimeout as sleep } from 'node:timers/promises';
import { sendJson } from './http.js';
import type { Installation } from './installation.js';
import type { SeededRandom } from './seeded-random.js';

const FLAG_COUNT = 5;
const VARIATION_COUNT = 8;
const RETRY_MS = 100;
/** A control plane that is killed, stopped and started is back before; one write takes no longer. */
const WRITE_MS_MAX = 60_000;

export const CHAOS_ORIGIN = 'https://shop.example';

/**
 * One tenant with its environment, and the truth about it: what every flag answers at every revision. There is one writer, which tries each change
 * again on the same ETag until it is acknowledged or has been applied, so that it knows each revision whatever happened to the control plane (I2, I5).
 */
export class ChaosEnvironment {
  readonly name: string;
  serverKey = '';
  webKey = '';
  environmentId = '';
  /** Acknowledged. */
  revision = 0;
  writeCount = 0;
  retryCount = 0;
  readonly #installation: Installation;
  #url = '';
  #variations = new Array<number>(FLAG_COUNT).fill(0);
  /** Values by flag, as JSON, by revision. */
  readonly #truth = new Map<number, string>();

  static async create(installation: Installation, name: string): Promise<ChaosEnvironment> {
    const environment = new ChaosEnvironment(installation, name);
    await environment.#create();
    return environment;
  }

  private constructor(installation: Installation, name: string) {
    this.#installation = installation;
    this.name = name;
  }

  /** The values at that revision; undefined: it was never acknowledged, or not yet. */
  valuesAt(revision: number): string | undefined {
    return this.#truth.get(revision);
  }

  get values(): ReadonlyMap<string, string> {
    return new Map(this.#variations.map((variation, index) => [`flag-${index}`, this.#value(index, variation)]));
  }

  /** Gives one flag another value. Resolves when that is acknowledged. */
  async write(random: SeededRandom): Promise<number> {
    const index = random.below(FLAG_COUNT);
    const variation = ((this.#variations[index] ?? 0) + 1 + random.below(VARIATION_COUNT - 1)) % VARIATION_COUNT;
    const url = `${this.#url}/environments/production/flags/flag-${index}/targeting`;
    const deadlineMs = performance.now() + WRITE_MS_MAX;
    const read = await this.#try(deadlineMs, () => this.#installation.must('GET', url));
    this.writeCount += 1;
    const body = { fallthrough: { variation: `v${variation}` } };
    const headers = {
      'content-type': 'application/merge-patch+json',
      'if-match': read.headers.get('etag') ?? '',
    };
    const revision = await this.#try(deadlineMs, async () => {
      const sending = { method: 'PATCH', key: this.#installation.admin, headers, body };
      const answer = await sendJson(this.#installation.url + url, sending);
      if (answer.status === 200) return Number(answer.body.revision);
      // Nobody else writes: an earlier try was applied, and its answer lost.
      if (answer.status === 412) return this.#revisionNow();
      throw new Error(`${answer.status} ${JSON.stringify(answer.body)}`);
    });
    if (revision !== this.revision + 1) throw new Error(`revision ${revision} after ${this.revision} (I2)`);
    this.#variations[index] = variation;
    this.#note(revision);
    return revision;
  }

  async #revisionNow(): Promise<number> {
    return Number((await this.#installation.must('GET', `${this.#url}/environments/production`)).body.revision);
  }

  async #try<Result>(deadlineMs: number, send: () => Promise<Result>): Promise<Result> {
    for (;;) {
      try {
        return await send();
      } catch (error) {
        if (performance.now() > deadlineMs) throw error;
        this.retryCount += 1;
        await sleep(RETRY_MS);
      }
    }
  }

  #value(index: number, variation: number): string {
    return `${this.name}-${index}-v${variation}`;
  }

  #note(revision: number): void {
    this.revision = revision;
    this.#truth.set(revision, JSON.stringify([...this.values]));
  }

  async #create(): Promise<void> {
    const must = this.#installation.must.bind(this.#installation);
    const tenant = await must('POST', '/api/v1/tenants', { key: this.name, name: this.name });
    const projects = `/api/v1/tenants/${String(tenant.body.id)}/projects`;
    this.#url = `${projects}/shop`;
    await must('POST', projects, { key: 'shop', name: 'shop' });
    const made = await must('POST', `${this.#url}/environments`, { key: 'production', name: 'production' });
    this.environmentId = String(made.body.id);
    for (let index = 0; index < FLAG_COUNT; index += 1) {
      const variations = Array.from({ length: VARIATION_COUNT }, (_, variation) => ({
        key: `v${variation}`,
        value: this.#value(index, variation),
      }));
      const targeting = { on: true, offVariation: 'v0', fallthrough: { variation: 'v0' } };
      await must('POST', `${this.#url}/flags`, {
        key: `flag-${index}`,
        type: 'string',
        clientSide: true,
        variations,
        initialTargeting: { production: targeting },
      });
    }
    const environment = `${this.#url}/environments/production`;
    const key = async (body: object) => String((await must('POST', `${environment}/credentials`, body)).body.token);
    this.serverKey = await key({ kind: 'srv', name: 'srv' });
    this.webKey = await key({ kind: 'web', name: 'web', allowedOrigins: [CHAOS_ORIGIN] });
    this.#note(await this.#revisionNow());
  }
}
