import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ChaosEnvironment } from './chaos-environment.js';
import { ChaosProxy } from './chaos-proxy.js';
import { DAMAGE_KINDS, DAMAGE_PLACES, damageStore } from './damage-store.js';
import { sendJson } from './http.js';
import type { Installation, RunningGuidonNode } from './installation.js';
import type { SeededRandom } from './seeded-random.js';

/** What was answered wrong, kept to be shown. */
const FAULTS_MAX = 20;
const PROBE_PAUSE_MS = 25;

interface Answered {
  readonly environment: ChaosEnvironment;
  readonly revision: number;
  readonly values: string;
}

/**
 * A node as a process of its own whose three networks (to the control plane, to NATS, to its clients) go through proxies, and which is asked to
 * evaluate all the time past them: a node that had data answers whatever happens, with what was in force at some acknowledged revision that
 * is not older than what it answered before (I7, I12, I13).
 */
export class ChaosNode {
  readonly name: string;
  readonly planeProxy: ChaosProxy;
  readonly busProxy: ChaosProxy;
  readonly clientProxy: ChaosProxy;
  /** Answers that were right. */
  answerCount = 0;
  /** Probes that nothing can be said about: the process was killed meanwhile, or had no data yet. */
  excusedCount = 0;
  readonly faults: string[] = [];
  readonly #installation: Installation;
  readonly #environments: readonly ChaosEnvironment[];
  #running: RunningGuidonNode | undefined;
  /** Rises with each start and end of the process. */
  #generation = 0;
  /** By environment: the revision that was answered last. Absent: it need not have any data. */
  readonly #served = new Map<ChaosEnvironment, number>();
  /** Answered before their revision was acknowledged; looked at once it is. */
  #unjudged: Answered[] = [];
  #probing: Promise<void> | undefined;
  #isClosed = false;

  static async start(
    installation: Installation,
    name: string,
    { busPort, environments }: { readonly busPort: number; readonly environments: readonly ChaosEnvironment[] },
  ): Promise<ChaosNode> {
    const [planeProxy, busProxy, clientProxy] = await Promise.all([
      ChaosProxy.start(Number(new URL(installation.url).port)),
      ChaosProxy.start(busPort),
      ChaosProxy.start(0),
    ]);
    const node = new ChaosNode(installation, name, { planeProxy, busProxy, clientProxy }, environments);
    await node.start();
    return node;
  }

  private constructor(
    installation: Installation,
    name: string,
    proxies: Pick<ChaosNode, 'planeProxy' | 'busProxy' | 'clientProxy'>,
    environments: readonly ChaosEnvironment[],
  ) {
    this.name = name;
    this.planeProxy = proxies.planeProxy;
    this.busProxy = proxies.busProxy;
    this.clientProxy = proxies.clientProxy;
    this.#installation = installation;
    this.#environments = environments;
  }

  /** Of its clients: the same whatever becomes of the process. */
  get url(): string {
    return `http://127.0.0.1:${this.clientProxy.port}`;
  }

  get proxies(): readonly ChaosProxy[] {
    return [this.planeProxy, this.busProxy, this.clientProxy];
  }

  get folder(): string {
    return join(this.#installation.folder.path, this.name);
  }

  async start(): Promise<void> {
    const source = ['--control-plane', `http://127.0.0.1:${this.planeProxy.port}`];
    const bus = ['--nats', `nats://127.0.0.1:${this.busProxy.port}`];
    const running = await this.#installation.startNode(this.name, [...source, ...bus]);
    this.clientProxy.targetPort = Number(new URL(running.url).port);
    this.#generation += 1;
    this.#running = running;
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#running?.process.child.kill(name);
  }

  /** The process is gone, at once. */
  async kill(): Promise<void> {
    const running = this.#running;
    this.#generation += 1;
    this.#running = undefined;
    await running?.process.stop('SIGKILL');
  }

  /** While it is down. From here on it need not answer until it has been given data. */
  wipe(): void {
    rmSync(this.folder, { recursive: true, force: true });
    this.#served.clear();
  }

  /** While it is down. */
  damage(random: SeededRandom): string {
    this.#served.clear();
    const [kind, place] = [random.pick(DAMAGE_KINDS), random.pick(DAMAGE_PLACES)];
    return damageStore(this.folder, kind, place, random) ?? 'no store';
  }

  /** Of the environment, as this node answered last. */
  servedOf(environment: ChaosEnvironment): number {
    return this.#served.get(environment) ?? 0;
  }

  startProbing(): void {
    this.#probing ??= this.#probe();
  }

  /** Every answer has been looked at: what has not been acknowledged by now never was. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#probing;
    for (const { environment, revision } of this.#judgeKnown()) {
      this.#fault(`${environment.name} at revision ${revision}, which nobody has acknowledged`);
    }
    await Promise.all(this.proxies.map((proxy) => proxy.close()));
  }

  async #probe(): Promise<void> {
    while (!this.#isClosed) {
      for (const environment of this.#environments) await this.#ask(environment);
      this.#unjudged = this.#judgeKnown();
      await sleep(PROBE_PAUSE_MS);
    }
  }

  async #ask(environment: ChaosEnvironment): Promise<void> {
    const running = this.#running;
    const generation = this.#generation;
    const servedBefore = this.#served.get(environment);
    if (running === undefined) return;
    let problem: string;
    try {
      const body = { context: { targetingKey: 'u' } };
      const answer = await sendJson(`${running.url}/v1/evaluate`, { key: environment.serverKey, body });
      if (answer.status === 200) {
        this.#take(environment, answer.body, servedBefore);
        return;
      }
      problem = `${answer.status} ${JSON.stringify(answer.body)}`;
    } catch (error) {
      problem = String(error instanceof Error ? (error.cause ?? error) : error);
    }
    if (servedBefore === undefined || generation !== this.#generation) this.excusedCount += 1;
    else this.#fault(`${environment.name}: ${problem}`);
  }

  #take(environment: ChaosEnvironment, body: Record<string, unknown>, servedBefore = 0): void {
    const revision = Number(body.revision);
    if (!(revision >= servedBefore)) this.#fault(`${environment.name}: ${revision} after ${servedBefore} (I7)`);
    this.#served.set(environment, revision);
    const results: unknown[] = Array.isArray(body.results) ? body.results : [];
    const values = results.map((result) => {
      const members = new Map<string, unknown>(Object.entries(result ?? {}));
      return [String(members.get('flag')), members.get('value')] as const;
    });
    values.sort(([a], [b]) => (a < b ? -1 : 1));
    this.#unjudged.push({ environment, revision, values: JSON.stringify(values) });
  }

  /** Those whose revision is not known yet. */
  #judgeKnown(): Answered[] {
    return this.#unjudged.filter(({ environment, revision, values }) => {
      const truth = environment.valuesAt(revision);
      if (truth === undefined) return true;
      if (truth === values) this.answerCount += 1;
      else this.#fault(`${environment.name} at revision ${revision}: ${values}, not ${truth}`);
      return false;
    });
  }

  #fault(what: string): void {
    if (this.faults.length < FAULTS_MAX) this.faults.push(`${this.name}: ${what}`);
  }
}
