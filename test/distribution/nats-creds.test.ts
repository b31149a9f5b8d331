import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NatsBus } from '@guidon/cli/run/nats-bus.js';
import { messageIdOf, parseEnvironmentRef, subjectOf } from '@guidon/protocol';
import { pino } from 'pino';
import { afterEach, expect, test } from 'vitest';
import { temporaryFolder } from '../support/guidon-process.js';
import { NatsServer } from '../support/nats-server.js';
import { NKey } from '../support/nkey.js';
import { until } from '../support/running-node.js';

/** `--nats-creds`: a NATS whose users are signed by an operator, each with a file that holds a JWT and an NKey (docs/deploy.md). */
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A JWT as NATS reads it: Ed25519 by the NKey of whoever stands above. */
function sign(issuer: NKey, subject: NKey, name: string, claims: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const body = {
    jti: randomUUID(),
    iat: Math.floor(Date.now() / 1000),
    iss: issuer.publicKey,
    sub: subject.publicKey,
    name,
    nats: { version: 2, ...claims },
  };
  const signed = `${part({ typ: 'JWT', alg: 'ed25519-nkey' })}.${part(body)}`;
  return `${signed}.${issuer.sign(Buffer.from(signed)).toString('base64url')}`;
}

const UNLIMITED = { subs: -1, data: -1, payload: -1, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 };
const STORED = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };

test('a credentials file opens the bus to who the operator has signed, and to nobody else', async () => {
  const folder = temporaryFolder('nats-creds');
  cleanups.push(() => folder.remove());
  const [operator, system, account] = [new NKey('operator'), new NKey('account'), new NKey('account')];
  const accountJwt = (limits: object, name: string, key: NKey): string =>
    sign(operator, key, name, { type: 'account', limits: { ...UNLIMITED, ...limits } });
  const server = await NatsServer.start({
    config: `operator: ${sign(operator, operator, 'operator', { type: 'operator' })}
      system_account: ${system.publicKey}
      resolver: MEMORY
      resolver_preload: {
        ${system.publicKey}: ${accountJwt({}, 'system', system)}
        ${account.publicKey}: ${accountJwt(STORED, 'guidon', account)}
      }`,
  });
  cleanups.push(() => server.dispose());
  const openBus = (name: string, issuer: NKey, claims: object = {}): NatsBus => {
    const user = new NKey('user');
    const jwt = sign(issuer, user, name, {
      type: 'user',
      subs: -1,
      data: -1,
      payload: -1,
      pub: {},
      sub: {},
      ...claims,
    });
    const credsFile = join(folder.path, `${name}.creds`);
    writeFileSync(
      credsFile,
      `-----BEGIN NATS USER JWT-----\n${jwt}\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n${user.seed}\n------END USER NKEY SEED------\n`,
      { mode: 0o600 },
    );
    const isPublisher = name === 'control';
    const bus = new NatsBus({ servers: [server.url], credsFile, isPublisher, logger: pino({ level: 'silent' }) });
    cleanups.push(() => bus.close());
    return bus;
  };

  const control = openBus('control', account);
  const environment = parseEnvironmentRef({ tenantId: 'ten', projectId: 'prj', environmentId: 'env' });
  const send = (bus: NatsBus, to: number): Promise<void> =>
    bus.publish(
      subjectOf('config', environment),
      Buffer.from(`revision ${to}`),
      messageIdOf('config', { ...environment, epoch: 1, to }),
    );
  const isTaken = (bus: NatsBus, to: number) => () =>
    send(bus, to).then(
      () => true,
      () => false,
    );
  await until('the message is taken', isTaken(control, 1), 30_000);
  // A node may listen and nothing else.
  const mayListen = { pub: { deny: ['guidon.>'] }, sub: { allow: ['_INBOX.>'] } };
  const node = openBus('node', account, mayListen);
  const heard: string[] = [];
  node.subscribe({ message: (_, message) => void heard.push(Buffer.from(message).toString()), resumed: () => {} });
  await until('it is heard', () => heard.includes('revision 1'), 30_000);
  await expect(send(node, 2)).rejects.toThrow();
  await until('the next one is taken', isTaken(control, 3), 30_000);
  await until('it is heard', () => heard.includes('revision 3'), 30_000);
  expect(heard).toEqual(['revision 1', 'revision 3']);

  const stranger = openBus('stranger', new NKey('account'));
  stranger.subscribe({ message: () => {}, resumed: () => {} });
  await until('it is refused', () => /authorization/i.test(stranger.status().detail), 30_000);
  expect(stranger.status().isConnected).toBe(false);
}, 120_000);
