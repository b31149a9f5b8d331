import { NatsBus } from '@guidon/cli/run/nats-bus.js';
import { type ChangeBus, InProcessChangeBus, messageIdOf, parseEnvironmentRef, subjectOf } from '@guidon/protocol';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NatsServer } from '../support/nats-server.js';
import { until } from '../support/running-node.js';

/** What every bus does, whatever carries it. */
const logger = pino({ level: 'silent' });
const environmentOf = (name: string) =>
  parseEnvironmentRef({ tenantId: 'ten', projectId: 'prj', environmentId: `env-${name}` });

interface Carrier {
  open(): Promise<ChangeBus>;
  close(): Promise<void>;
}

function natsCarrier(): Carrier {
  let server: NatsServer | undefined;
  return {
    open: async () => {
      server ??= await NatsServer.start();
      return new NatsBus({ servers: [server.url], isPublisher: true, logger });
    },
    close: async () => server?.dispose(),
  };
}

const inProcess: Carrier = { open: async () => new InProcessChangeBus(), close: () => Promise.resolve() };

describe.each<[string, () => Carrier]>([
  ['InProcessChangeBus', () => inProcess],
  ['NatsBus', natsCarrier],
])('%s', (_name, carrierOf) => {
  const carrier = carrierOf();
  let bus: ChangeBus;
  const heard: { subject: string; text: string }[] = [];
  let resumedCount = 0;
  const subscriber = {
    message: (subject: string, message: Uint8Array) =>
      void heard.push({ subject, text: Buffer.from(message).toString('latin1') }),
    resumed: () => {
      resumedCount += 1;
    },
  };
  const send = (name: string, to: number, text = `${name} ${to}`, topic: 'config' | 'access' = 'config') =>
    bus.publish(
      subjectOf(topic, environmentOf(name)),
      Buffer.from(text, 'latin1'),
      messageIdOf(topic, { ...environmentOf(name), epoch: 1, to }),
    );
  const textsOf = (name: string, topic: 'config' | 'access' = 'config') =>
    heard.filter(({ subject }) => subject === subjectOf(topic, environmentOf(name))).map(({ text }) => text);

  beforeAll(async () => {
    bus = await carrier.open();
    bus.subscribe(subscriber);
    await until('the bus carries messages', () => bus.status().isConnected && resumedCount > 0);
  });

  afterAll(async () => {
    await bus.close();
    await carrier.close();
  });

  it('delivers messages of both topics byte by byte', async () => {
    const bytes = Array.from({ length: 256 }, (_, index) => String.fromCharCode(index)).join('');
    await send('bytes', 1, bytes);
    await send('bytes', 1, `${bytes}access`, 'access');
    await until('both', () => textsOf('bytes').length === 1 && textsOf('bytes', 'access').length === 1);
    expect([textsOf('bytes'), textsOf('bytes', 'access')]).toEqual([[bytes], [`${bytes}access`]]);
  });

  it('keeps the order of one environment', async () => {
    for (let to = 1; to <= 200; to += 1) await send('order', to);
    await until('all', () => textsOf('order').length === 200);
    expect(textsOf('order')).toEqual(Array.from({ length: 200 }, (_, index) => `order ${index + 1}`));
  });

  it('takes the largest message there is', async () => {
    const text = 'x'.repeat(512 * 1024 + 4_096);
    await send('large', 1, text);
    await until('it', () => textsOf('large').length === 1);
    expect(textsOf('large')[0]).toHaveLength(text.length);
  });

  it('delivers to every subscriber, and to none that has left', async () => {
    const second: string[] = [];
    let isResumed = false;
    const leave = bus.subscribe({
      message: (subject, message) => void second.push(`${subject} ${Buffer.from(message).toString()}`),
      resumed: () => {
        isResumed = true;
      },
    });
    await until('the second one hears', () => isResumed);
    await send('two', 1);
    await until('both', () => textsOf('two').length === 1 && second.some((line) => line.endsWith('two 1')));
    leave();
    await send('two', 2);
    await until('the first', () => textsOf('two').length === 2);
    expect(second.some((line) => line.endsWith('two 2'))).toBe(false);
  });

  it('says truthfully whether it carries messages, and refuses after close()', async () => {
    const other = await carrier.open();
    const stop = other.subscribe({ message: () => {}, resumed: () => {} });
    await until('it is connected', () => other.status().isConnected);
    stop();
    await other.close();
    expect(other.status()).toMatchObject({ isConnected: false, detail: 'closed' });
    await expect(other.publish('guidon.v1.config.t.e', Buffer.from('late'), 'e:1:1')).rejects.toThrow(/closed/);
  });
});
