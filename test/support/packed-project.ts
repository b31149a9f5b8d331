import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { REPOSITORY } from './guidon-process.js';

const run = promisify(execFile);
const QUIET = { env: { ...process.env, npm_config_loglevel: 'error' }, maxBuffer: 64 * 1024 * 1024 };

/** An empty project with packages of ours as they would be published: packed and installed, without a registry. */
export class PackedProject {
  readonly folder: string;
  readonly #tarballs: string;

  /** `packages`: folders of the repository. `brought`: what they depend on, packed from what is installed here. */
  static async create(packages: readonly string[], brought: readonly string[]): Promise<PackedProject> {
    const tarballs = mkdtempSync(join(tmpdir(), 'guidon-packed-'));
    const folder = join(tarballs, 'project');
    mkdirSync(folder);
    const sources = [
      ...packages.map((name) => join(REPOSITORY, name)),
      ...brought.map((name) => join(REPOSITORY, 'node_modules', name)),
    ];
    await run('npm', ['pack', '--ignore-scripts', '--pack-destination', tarballs, ...sources], QUIET);
    const manifest = '{"name": "empty", "version": "1.0.0", "type": "module", "private": true}';
    writeFileSync(join(folder, 'package.json'), manifest);
    const names = readdirSync(tarballs).filter((name) => name.endsWith('.tgz'));
    const install = ['install', '--offline', '--no-audit', '--no-fund', ...names.map((name) => join(tarballs, name))];
    await run('npm', install, { ...QUIET, cwd: folder });
    return new PackedProject(tarballs, folder);
  }

  private constructor(tarballs: string, folder: string) {
    this.#tarballs = tarballs;
    this.folder = folder;
  }

  remove(): void {
    rmSync(this.#tarballs, { recursive: true });
  }

  /** Type-checks `source` strictly with the packages' declarations, and compiles it; `flags` for the compiler. Rejects with what is wrong. */
  async check(name: string, source: string, flags: readonly string[] = []): Promise<void> {
    writeFileSync(join(this.folder, `${name}.ts`), source);
    const tsc = join(REPOSITORY, 'node_modules/typescript/bin/tsc');
    const options = ['--strict', '--target', 'es2023', '--module', 'nodenext', '--outDir', 'out', '--types', ''];
    const checked = await run(process.execPath, [tsc, ...options, ...flags, `${name}.ts`], { cwd: this.folder }).catch(
      (error: unknown) => Promise.reject(new Error(Object.values(error as { stdout: string }).join('\n'))),
    );
    assert.equal(checked.stdout, '');
  }

  /** As check(), and runs it. Resolves with what it printed. */
  async checkAndRun(
    name: string,
    source: string,
    env: NodeJS.ProcessEnv = {},
    flags: readonly string[] = [],
  ): Promise<string> {
    await this.check(name, source, flags);
    const { stdout } = await run(process.execPath, [join('out', `${name}.js`)], {
      cwd: this.folder,
      env: { ...process.env, ...env },
    });
    return stdout;
  }

  /** publint and attw find nothing wrong with it. */
  async checkPackage(name: string): Promise<void> {
    const manifest = JSON.parse(readFileSync(join(REPOSITORY, name, 'package.json'), 'utf8'));
    const tarball = join(this.#tarballs, `${manifest.name.slice(1).replace('/', '-')}-${manifest.version}.tgz`);
    const publint = join(REPOSITORY, 'node_modules/publint/src/cli.js');
    const { stdout } = await run(process.execPath, [publint, 'run', tarball, '--strict'], {
      ...QUIET,
      cwd: this.#tarballs,
    });
    assert.match(stdout, /All good/);
    // The kernel is bytes: it has no types.
    if (name === 'assembly') return;
    const attw = join(REPOSITORY, 'node_modules/@arethetypeswrong/cli/dist/index.js');
    await run(process.execPath, [attw, tarball, '--profile', 'esm-only', '--no-emoji', '--quiet'], QUIET);
  }
}
