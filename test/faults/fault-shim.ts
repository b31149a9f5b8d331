import { spawnSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface FaultShim {
  /** Keep at this path what a disk would still hold after a power cut. */
  readonly image?: string;
  /** `CALL:WHAT:N`, see fault-shim.c. */
  readonly fault?: string;
}

let library: string | undefined;

/** Environment variables under which a child runs with the shim, which is compiled once per test process. */
export function shimEnvironment({ image, fault }: FaultShim): Record<string, string> {
  library ??= compileShim();
  return {
    LD_PRELOAD: library,
    ...(image === undefined ? {} : { GUIDON_FAULT_IMAGE: image }),
    ...(fault === undefined ? {} : { GUIDON_FAULT: fault }),
  };
}

function compileShim(): string {
  const source = fileURLToPath(new URL('./fault-shim.c', import.meta.url));
  const target = join(mkdtempSync(join(tmpdir(), 'guidon-fault-shim-')), 'fault-shim.so');
  const flags = ['-Wall', '-Wextra', '-Werror', '-O2', '-shared', '-fPIC'];
  const { status, stderr, error } = spawnSync('cc', [...flags, '-o', target, source, '-ldl', '-lpthread'], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`the fault shim does not compile: ${error?.message ?? stderr}`);
  return target;
}
