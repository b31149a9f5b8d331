import { resolve } from 'node:path';
import { signBreakGlass } from '@guidon/control-plane';
import { PlatformError } from '@guidon/protocol';

export interface BreakGlassOptions {
  readonly data: string;
  readonly controlPlane: string;
  readonly reason: string;
}

/** How long the control plane may take to answer, milliseconds. */
const ANSWER_MS_MAX = 10_000;

/** Prints a token of an installation admin that ends in an hour; writes nothing anywhere. */
export async function runBreakGlass({ data, controlPlane, reason }: BreakGlassOptions): Promise<void> {
  const assertion = signBreakGlass({ dataDirectory: resolve(data), reason, now: Date.now() });
  let response: Response;
  try {
    response = await fetch(`${controlPlane}/api/v1/break-glass`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ assertion }),
      signal: AbortSignal.timeout(ANSWER_MS_MAX),
    });
  } catch (cause) {
    throw new PlatformError('not-ready', `${controlPlane} does not answer: start the control plane first`, { cause });
  }
  const answer: { token?: unknown; notAfter?: unknown; detail?: unknown } = JSON.parse(await response.text());
  if (!response.ok) throw new PlatformError('invalid-credentials', `refused: ${String(answer.detail)}`);
  console.log(String(answer.token));
  console.error(`installation admin until ${new Date(Number(answer.notAfter)).toISOString()}; the audit log says so`);
}
