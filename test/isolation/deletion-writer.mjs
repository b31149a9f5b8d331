// The process that tenant-deletion.test.ts lets die: a control plane that deletes a tenant and kills itself between two of its transactions.
import { startControlPlane } from '@guidon/control-plane';
import { ControlStore } from '@guidon/control-plane/store/control-store.js';
import { InProcessChangeBus } from '@guidon/protocol';
import { pino } from 'pino';

const [directory, path, etag, transactions] = process.argv.slice(2);
const running = await startControlPlane({
  dataDirectory: directory,
  port: 0,
  bus: new InProcessChangeBus(),
  logger: pino({ level: 'silent' }),
  treeHeadIntervalMs: 3_600_000,
});
const token = await running.createSystemCredential();
const transaction = Reflect.get(ControlStore.prototype, 'transaction');
let count = 0;
ControlStore.prototype.transaction = function transactionOrDeath(work) {
  count += 1;
  if (count > Number(transactions)) process.kill(process.pid, 'SIGKILL');
  return transaction.call(this, work);
};
const { status } = await fetch(`${running.url}${path}`, {
  method: 'DELETE',
  headers: { authorization: `Bearer ${token}`, 'if-match': etag },
});
process.stdout.write(`answered ${status}\n`);
process.exit(1);
