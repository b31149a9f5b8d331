import assert from 'node:assert/strict';
import { parentPort, workerData } from 'node:worker_threads';
import { type KernelCall, KernelThread, type ThreadHandle } from '@guidon/engine';

/** A worker thread of test-thread.ts: evaluates each call and says with what result it ended, or why it did not. */
assert(parentPort !== null, 'runs as a worker');
const port = parentPort;
const handle: ThreadHandle = workerData;
const thread = new KernelThread(handle);
port.on('message', (call: KernelCall) => {
  try {
    port.postMessage({ result: thread.evaluate(call) });
  } catch (error) {
    port.postMessage({ error: String(error) });
  }
});
port.postMessage({ result: 0 });
