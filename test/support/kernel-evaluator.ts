import assert from 'node:assert/strict';
import {
  compileSnapshot,
  decodeStrictMsgpack,
  encodeJsonRequest,
  type FlagSet,
  KernelHost,
  type ResidentSnapshot,
  type Result,
} from '@guidon/engine';
import { parseEnvironmentRef } from '@guidon/protocol';

export const TEST_ENVIRONMENT = parseEnvironmentRef({ tenantId: 't1', projectId: 'p1', environmentId: 'e1' });

let host: Promise<KernelHost> | undefined;
const residents = new WeakMap<FlagSet, Promise<ResidentSnapshot>>();

/** One host per test process. */
export function testHost(): Promise<KernelHost> {
  host ??= KernelHost.create();
  return host;
}

async function loadOnce(flagSet: FlagSet): Promise<ResidentSnapshot> {
  const { compiled, issues } = compileSnapshot(flagSet, { environment: TEST_ENVIRONMENT, revision: 1 });
  assert(compiled !== undefined, JSON.stringify(issues));
  return (await testHost()).load(compiled.snapshot);
}

/** Compiles and loads a flag set once, then answers from the kernel. A batch of one, so that any context is answered in its place. */
export async function evaluateInKernel(
  flagSet: FlagSet,
  flag: string,
  context: unknown,
  options: { now: number; clientSideOnly: boolean },
): Promise<Result> {
  let resident = residents.get(flagSet);
  if (resident === undefined) {
    resident = loadOnce(flagSet);
    residents.set(flagSet, resident);
  }
  const loaded = await resident;
  const body = encodeJsonRequest({ requests: [{ flag, context }] });
  const answer = (await testHost()).evaluate(loaded, body, { ...options, route: 'batch' });
  assert(answer.status === 'ok', JSON.stringify(answer));
  const decoded = decodeStrictMsgpack(answer.bytes);
  assert(decoded.ok, 'the kernel writes strict msgpack');
  const { results } = decoded.value as { results: Result[] };
  const [result] = results;
  assert(result !== undefined && results.length === 1, 'one entry, one result');
  return result;
}
