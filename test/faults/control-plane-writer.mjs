// The process that control-plane-kill.test.ts kills: a control plane that writes flags as fast as they are acknowledged and prints each answer.
import { startControlPlane } from '@guidon/control-plane';
import { pino } from 'pino';

const [directory, project, round] = process.argv.slice(2);
const bus = {
  publish: () => Promise.reject(new Error('the bus is away')),
  subscribe: () => () => {},
  onLost: () => {},
  status: () => 'disconnected',
  close: () => Promise.resolve(),
};
const { url } = await startControlPlane({ dataDirectory: directory, port: 0, bus, logger: pino({ level: 'silent' }) });

/** Three lanes, so that commits are batched and a kill meets some of them half-way. */
async function write(lane) {
  for (let count = 0; ; count += 1) {
    const key = `r${round}-l${lane}-${count}`;
    const response = await fetch(`${url}${project}/flags`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${process.env.GUIDON_TEST_TOKEN}`,
        'content-type': 'application/json',
        'idempotency-key': key,
      },
      body: JSON.stringify({
        key,
        name: key,
        type: 'boolean',
        variations: [
          { key: 'on', value: true },
          { key: 'off', value: false },
        ],
      }),
    });
    const text = await response.text();
    if (response.status !== 201) throw new Error(`${response.status} ${text}`);
    process.stdout.write(`${JSON.stringify({ key, text })}\n`);
  }
}
await Promise.all([write(0), write(1), write(2)]);
