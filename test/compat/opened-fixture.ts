import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type RunningServer, startServer } from '@guidon/server';
import { pino } from 'pino';
import { type TemporaryFolder, temporaryFolder } from '../support/guidon-process.js';
import { sendJson } from '../support/http.js';
import type { CompatCase } from './compat-case.js';

const FIXTURES = fileURLToPath(new URL('./fixtures/', import.meta.url));

/** Names of all fixtures, in the order of their formats. */
export const FIXTURE_NAMES: readonly string[] = readdirSync(FIXTURES)
  .filter((name) => name.endsWith('.tgz'))
  .sort();

export interface CompatNode {
  readonly server: RunningServer;
  /** Messages of its log, level warn and above. */
  readonly messages: readonly string[];
}

/** A copy of a fixture's folders that a test may do anything with. */
export class OpenedFixture {
  readonly compatCase: CompatCase;
  readonly #folder: TemporaryFolder = temporaryFolder('compat');
  readonly #nodes: RunningServer[] = [];

  constructor(name: string) {
    const { status, stderr } = spawnSync('tar', ['xzf', join(FIXTURES, name), '-C', this.#folder.path], {
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`${name}: ${stderr}`);
    this.compatCase = JSON.parse(readFileSync(join(this.#folder.path, 'case.json'), 'utf8'));
  }

  get controlPlaneDirectory(): string {
    return join(this.#folder.path, 'cp');
  }

  get nodeDirectory(): string {
    return join(this.#folder.path, 'node');
  }

  /** A node of this build. `directory`: its data; default that of the old node. */
  async startNode(controlPlaneUrl: string, directory = this.nodeDirectory): Promise<CompatNode> {
    const messages: string[] = [];
    const logger = pino({ level: 'warn' }, { write: (line: string) => void messages.push(JSON.parse(line).msg) });
    const server = await startServer({
      dataDirectory: directory,
      port: 0,
      metricsPort: 0,
      controlPlaneUrl,
      nodeCredential: readFileSync(join(this.#folder.path, 'node.key'), 'utf8').trim(),
      trustRoot: this.compatCase.trustRoot,
      pollIntervalMs: 100,
      logger,
    });
    this.#nodes.push(server);
    return { server, messages };
  }

  /** What a node says now to what the old one was asked. */
  async answersOf({ server }: CompatNode): Promise<CompatCase['answers']> {
    const answers: CompatCase['answers'][number][] = [];
    for (const { flag, context } of this.compatCase.answers) {
      const body = { flags: flag, context };
      const answer = await sendJson(`${server.url}/v1/evaluate`, { key: this.compatCase.serverKey, body });
      answers.push({ flag, context, status: answer.status, value: answer.body.value });
    }
    return answers;
  }

  async close(): Promise<void> {
    for (const node of this.#nodes) await node.close();
    this.#folder.remove();
  }
}
