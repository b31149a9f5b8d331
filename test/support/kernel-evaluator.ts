import assert from 'node:assert/strict';
import {
  type BodyFormat,
  compileSnapshot,
  decodeStrictMsgpack,
  encodeJsonRequest,
  type FlagSet,
  KernelHost,
  type ResidentSnapshot,
  type Result,
} from '@guidon/engine';
import { parseEnvironmentRef } from '@guidon/protocol';
import { jsonTextOf } from './json-text.js';

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

/**
 * Compiles and loads a flag set once, then answers from the kernel. A batch of one, so that any context is answered in its place. What JSON
 * cannot say is asked in msgpack.
 */
export async function evaluateInKernel(
  flagSet: FlagSet,
  flag: string,
  context: unknown,
  options: { now: number; clientSideOnly: boolean },
  format: BodyFormat = 'msgpack',
): Promise<Result> {
  let resident = residents.get(flagSet);
  if (resident === undefined) {
    resident = loadOnce(flagSet);
    residents.set(flagSet, resident);
  }
  const loaded = await resident;
  const text = format === 'json' ? jsonTextOf({ requests: [{ flag, context }] }) : undefined;
  const body = text === undefined ? encodeJsonRequest({ requests: [{ flag, context }] }) : Buffer.from(text);
  const formats = { requestFormat: text === undefined ? 'msgpack' : 'json', answerFormat: format } as const;
  const answer = (await testHost()).evaluate(loaded, body, { ...options, ...formats, route: 'batch' });
  assert(answer.status === 'ok', JSON.stringify(answer));
  const { results } =
    format === 'json' ? JSON.parse(Buffer.from(answer.bytes).toString()) : decodedAnswer(answer.bytes);
  const [result] = results;
  assert(result !== undefined && results.length === 1, 'one entry, one result');
  return result;
}

function decodedAnswer(bytes: Uint8Array): { readonly results: readonly Result[] } {
  const decoded = decodeStrictMsgpack(bytes);
  assert(decoded.ok, 'the kernel writes strict msgpack');
  return decoded.value as { results: Result[] };
}
