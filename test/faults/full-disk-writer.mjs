// The process of full-disk.test.ts: writes until the store can grow no more, under a limit on file size set by its parent.
import { startControlPlane } from '@guidon/control-plane';
import { pino } from 'pino';

const [directory] = process.argv.slice(2);
const bus = {
  publish: () => Promise.resolve(),
  subscribe: () => () => {},
  status: () => 'connected',
  onLost: () => {},
  close: () => Promise.resolve(),
};
const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const plane = await startControlPlane({
  dataDirectory: directory,
  port: 0,
  bus,
  logger: pino({ level: 'silent' }),
  onStoreFailure: (error) => {
    print({ failure: error.code });
    process.kill(process.pid, 'SIGKILL');
  },
});
const authorization = `Bearer ${await plane.createSystemCredential()}`;
const call = (method, path, body) =>
  fetch(`${plane.url}${path}`, {
    method,
    headers: { authorization, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
const tenant = await (await call('POST', '/api/v1/tenants', { key: 't', name: 't' })).json();
const projects = `/api/v1/tenants/${tenant.id}/projects`;
let refused = '';
for (let count = 0; ; count += 1) {
  const key = `p${count}`;
  const answer = await call('POST', projects, { key, name: key, description: 'x'.repeat(4_000) });
  const { code } = await answer.json();
  print({ key, status: answer.status, code });
  refused = key;
  if (answer.status !== 201) break;
}
// Reads go on and do not show what was refused; writes do not.
print({ read: (await call('GET', `${projects}/p0`)).status });
print({ refused: (await call('GET', `${projects}/${refused}`)).status });
print({ write: (await call('POST', projects, { key: 'later', name: 'x' })).status });
