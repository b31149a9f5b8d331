import { resolve } from 'node:path';
import { signBreakGlass } from '@guidon/control-plane';
import { AdminClient } from '../admin/admin-client.js';

export interface BreakGlassOptions {
  readonly data: string;
  readonly controlPlane: string;
  readonly reason: string;
}

/** Prints a token of an installation admin that ends in an hour; writes nothing anywhere. */
export async function runBreakGlass({ data, controlPlane, reason }: BreakGlassOptions): Promise<void> {
  const assertion = signBreakGlass({ dataDirectory: resolve(data), reason, now: Date.now() });
  const answer = await new AdminClient(controlPlane).post('/api/v1/break-glass', { assertion });
  console.log(answer.text('token'));
  const until = new Date(Number(answer.members.get('notAfter'))).toISOString();
  console.error(`installation admin until ${until}; the audit log says so`);
}
