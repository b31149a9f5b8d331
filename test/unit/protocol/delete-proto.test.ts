import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';

/** Runs in a thread of its own: taking `__proto__` away cannot be taken back. */
async function inWorker(body: string): Promise<unknown> {
  const protocol = JSON.stringify(import.meta.resolve('@guidon/protocol'));
  const code = `import(${protocol}).then(({ deleteProto }) => {
    const { parentPort } = require('node:worker_threads');
    ${body}
  })`;
  const worker = new Worker(code, { eval: true });
  const [answer]: unknown[] = await once(worker, 'message');
  await worker.terminate();
  return answer;
}

const MERGE = `const merged = Object.assign({}, JSON.parse('{"__proto__":{"isAdmin":true}}'));
  parentPort.postMessage([merged.isAdmin === true, Object.keys(merged)]);`;

it('deleteProto() leaves a merge no way to a prototype (M18)', async () => {
  expect(await inWorker(MERGE)).toEqual([true, []]);
  expect(await inWorker(`deleteProto(); ${MERGE}`)).toEqual([false, ['__proto__']]);
});
