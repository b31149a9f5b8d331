import { PlatformError } from '@guidon/protocol';
import { type ControlPlaneOptions, clientOf } from '../options/control-plane-options.js';
import type { AdminAnswer, AdminClient } from './admin-client.js';

const KEYS = '/api/v1/signing-keys';

/** `guidon keys list`: one line a key. */
export async function runKeysList(options: ControlPlaneOptions): Promise<void> {
  print(await clientOf(options).get(KEYS));
}

/** `guidon keys introduce`: makes the next key, which nodes then learn within about a minute. */
export async function runKeysIntroduce(options: ControlPlaneOptions): Promise<void> {
  print(await clientOf(options).post(KEYS, null));
}

/** `guidon keys activate`: the next key signs from now on. */
export async function runKeysActivate(options: ControlPlaneOptions): Promise<void> {
  const client = clientOf(options);
  const answer = await client.get(KEYS);
  const next = answer.list('keys').find((key) => key.get('state') === 'next');
  if (next === undefined) {
    throw new PlatformError(
      'conflict',
      'there is no next key: run `guidon keys introduce`, wait a minute, then activate',
    );
  }
  await step(client, answer, String(next.get('id')), 'activate');
}

/** `guidon keys revoke ID`: nothing that the key has signed is trusted any more. */
export async function runKeysRevoke(id: string, options: ControlPlaneOptions): Promise<void> {
  const client = clientOf(options);
  await step(client, await client.get(KEYS), id, 'revoke');
}

async function step(client: AdminClient, seen: AdminAnswer, id: string, name: 'activate' | 'revoke'): Promise<void> {
  print(await client.post(`${KEYS}/${encodeURIComponent(id)}/${name}`, null, { 'if-match': seen.etag }));
}

function print(answer: AdminAnswer): void {
  console.log(`trust root ${answer.text('trustRoot')}`);
  for (const key of answer.list('keys')) {
    const notAfter = key.get('notAfter');
    const until = typeof notAfter === 'number' ? `  until ${new Date(notAfter).toISOString()}` : '';
    console.log(`${String(key.get('id'))}  ${String(key.get('state')).padEnd(7)}${until}`);
  }
}
