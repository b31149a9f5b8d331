// The process that kill.test.ts kills: a control plane that delivers to webhooks while flags are written as fast as they are acknowledged.
import { startControlPlane } from '@guidon/control-plane';
import { InProcessChangeBus } from '@guidon/protocol';
import { pino } from 'pino';

const [directory, project, round] = process.argv.slice(2);
const { url } = await startControlPlane({
  dataDirectory: directory,
  port: 0,
  bus: new InProcessChangeBus(),
  logger: pino({ level: 'silent' }),
  webhookAllow: ['127.0.0.1'],
});

for (let count = 0; ; count += 1) {
  const key = `r${round}-${count}`;
  const response = await fetch(`${url}${project}/flags`, {
    method: 'POST',
    headers: { authorization: `Bearer ${process.env.GUIDON_TEST_TOKEN}`, 'content-type': 'application/json' },
    body: JSON.stringify({ key, name: key, type: 'boolean' }),
  });
  if (response.status !== 201) throw new Error(`${response.status} ${await response.text()}`);
  process.stdout.write(`${key}\n`);
}
