import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { WORKER_FLAGS } from '@guidon/pool/worker-flags.js';
import { describe, expect, it } from 'vitest';

const MODULE = fileURLToPath(import.meta.resolve('@guidon/pool/worker-flags.js'));

/** What a thread started with `flags` says to `source`, which has the path of an ES module as `workerData`. */
async function saidBy(source: string, flags: readonly string[]): Promise<unknown> {
  const worker = new Worker(`const { parentPort, workerData } = require('node:worker_threads');${source}`, {
    eval: true,
    execArgv: [...flags],
    workerData: MODULE,
  });
  const [said] = await once(worker, 'message');
  await worker.terminate();
  return said;
}

describe('WORKER_FLAGS', () => {
  const REQUIRE = `let said = 'loaded'; try { require(workerData) } catch (error) { said = error.code } parentPort.postMessage(said)`;

  it('keep require() from linking ES modules, which a thread must not be ended in', async () => {
    expect(await saidBy(REQUIRE, WORKER_FLAGS)).toBe('ERR_REQUIRE_ESM');
  });

  it('leave import() as it is', async () => {
    const source = `import(workerData).then(({ WORKER_FLAGS }) => parentPort.postMessage(WORKER_FLAGS))`;
    expect(await saidBy(source, WORKER_FLAGS)).toEqual(WORKER_FLAGS);
  });
});
