import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BenchProcess } from '../support/bench-process.js';
import type { HostileLoad } from './hostile-process.js';

/** Resolves when it is at it. The load goes by a file in `folder`: hundreds of requests are longer than an argument may be. */
export async function startHostile(load: HostileLoad, folder: string): Promise<BenchProcess<object>> {
  const file = join(folder, 'hostile-load.json');
  writeFileSync(file, JSON.stringify(load));
  return await BenchProcess.start('neighbour/hostile-process.js', [file]);
}
