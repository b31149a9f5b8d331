import { workerData } from 'node:worker_threads';
import { type KernelCall, KernelThread, type ThreadHandle } from '@guidon/engine';

/** The worker's side of an EvaluationLane: a kernel of its own on the memory that all threads share. What it throws ends it. */
const handle: ThreadHandle = workerData;
const thread = new KernelThread(handle);

/** Without a call it only says that it is there. */
export default function run(call: KernelCall | undefined): number {
  return call === undefined ? 0 : thread.evaluate(call);
}
