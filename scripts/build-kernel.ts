import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * Builds assembly/dist/kernel.wasm. Compiling takes seconds, so it is skipped while a hash over the sources, the options and the
 * compiler's version is the one of the last build (assembly/dist/kernel.stamp).
 */
const assembly = fileURLToPath(new URL('../../assembly/', import.meta.url));
const output = join(assembly, 'dist', 'kernel.wasm');
const stampFile = join(assembly, 'dist', 'kernel.stamp');

/** 32768 pages = 2 GiB: no address plus length leaves 32 bits. A host may give less. */
const OPTIONS =
  '--importMemory --noExportMemory --sharedMemory --maximumMemory 32768 --enable threads --enable simd --runtime stub -O3 --noAssert'.split(
    ' ',
  );

function sourceHash(compilerVersion: string): string {
  const hash = createHash('sha256').update(JSON.stringify([OPTIONS, compilerVersion]));
  const names = readdirSync(assembly).filter((name) => name.endsWith('.ts'));
  for (const name of names.sort()) hash.update(`\0${name}\0`).update(readFileSync(join(assembly, name)));
  return hash.digest('hex');
}

const require = createRequire(join(assembly, 'package.json'));
const manifest = require.resolve('assemblyscript/package.json');
const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };
const stamp = sourceHash(version);
const isCurrent = existsSync(output) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp;
if (!isCurrent) {
  mkdirSync(dirname(output), { recursive: true });
  const compiler = join(dirname(manifest), 'bin', 'asc.js');
  execFileSync(process.execPath, [compiler, 'index.ts', ...OPTIONS, '-o', output], { cwd: assembly, stdio: 'inherit' });
  writeFileSync(stampFile, stamp);
}
