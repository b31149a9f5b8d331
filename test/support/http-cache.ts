import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { REPOSITORY } from './guidon-process.js';
import { freePort, isOpen } from './nginx.js';

/** Until it listens, milliseconds: varnishd compiles its configuration first. */
const START_MS_MAX = 30_000;

/** As the chapter says: no header of a request in the log. */
const KEYLESS_LOG = 'vsl_mask=-ReqHeader,-ReqUnset,-BereqHeader,-BereqUnset';

/** A real HTTP cache in front of a node, configured as docs/deploy.md says, on a free port; ended by pid. */
export class HttpCache {
  readonly url: string;
  /** What it keeps, as far as it is on the disk. */
  readonly folder: string;
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess, folder: string, port: number) {
    this.#process = process;
    this.folder = folder;
    this.url = `http://127.0.0.1:${port}`;
  }

  static async nginx(folder: string, originPort: number): Promise<HttpCache> {
    const port = await freePort();
    const cacheFolder = join(folder, 'cache');
    mkdirSync(cacheFolder, { recursive: true });
    const http = documented('nginx')
      .replace('/var/cache/nginx/guidon', cacheFolder)
      .replace('127.0.0.1:4300', `127.0.0.1:${originPort}`)
      .replace('127.0.0.1:8080', `127.0.0.1:${port}`);
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
      (name) => `${name}_temp_path ${folder}/${name};`,
    );
    const file = join(folder, 'nginx.conf');
    const lines = ['daemon off;', 'master_process off;', `pid ${folder}/nginx.pid;`, 'events {}'];
    writeFileSync(file, [...lines, 'http {', 'access_log off;', ...temporary, http, '}'].join('\n'));
    const args = ['-p', folder, '-c', file, '-e', join(folder, 'error.log')];
    return HttpCache.#listening(spawn('nginx', args, { stdio: 'inherit' }), cacheFolder, port);
  }

  static async varnish(folder: string, originPort: number): Promise<HttpCache> {
    const port = await freePort();
    mkdirSync(folder, { recursive: true });
    const file = join(folder, 'guidon.vcl');
    writeFileSync(file, documented('vcl').replace('.port = "4300"', `.port = "${originPort}"`));
    const places = ['-n', join(folder, 'work'), '-f', file, '-a', `127.0.0.1:${port}`];
    const args = ['-F', '-j', 'none', '-T', 'none', '-s', 'malloc,64m', '-p', KEYLESS_LOG, ...places];
    const log = openSync(join(folder, 'varnish.log'), 'w');
    const child = spawn('varnishd', args, { stdio: ['ignore', log, log] });
    closeSync(log);
    return HttpCache.#listening(child, folder, port);
  }

  static async #listening(child: ChildProcess, folder: string, port: number): Promise<HttpCache> {
    const cache = new HttpCache(child, folder, port);
    const deadlineMs = performance.now() + START_MS_MAX;
    while (!(await isOpen(port))) {
      if (child.exitCode !== null) throw new Error(`${child.spawnfile} ended with status ${child.exitCode}`);
      if (performance.now() > deadlineMs) {
        await cache.stop();
        throw new Error(`${child.spawnfile} does not listen`);
      }
      await new Promise((wake) => setTimeout(wake, 25));
    }
    return cache;
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGTERM');
    await exited;
  }
}

/** The one block of this language in the chapter about deploying: what is tested is what is written. */
function documented(language: string): string {
  const text = readFileSync(join(REPOSITORY, 'docs/deploy.md'), 'utf8');
  const block = new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``).exec(text)?.[1];
  if (block === undefined) throw new Error(`docs/deploy.md has no ${language} block`);
  return block;
}
