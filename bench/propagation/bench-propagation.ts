import { isQuick } from '../support/arguments.js';
import { BenchInstallation } from './bench-installation.js';
import { measureNatsDown, measureNode } from './measure-node.js';
import { measurePolls } from './measure-polls.js';
import { measureClients, measureStorm, measureWeb } from './measure-streams.js';

/**
 * How long a change takes to where it counts: over NATS to a node, and by poll when NATS is gone. Everything is a process of
 * its own on loopback. Each part is a file; the last line is one JSON object with a member for each. `--quick` is smaller.
 */
const FLAG_COUNT = isQuick ? 20 : 1_000;

const installation = await BenchInstallation.start(FLAG_COUNT);
try {
  const node = await measureNode(installation);
  console.table({ 'over NATS': node });
  const polls = await measurePolls(installation);
  console.table({ polls });
  const clients = await measureClients(installation);
  console.table(clients);
  const web = await measureWeb(installation);
  console.table({ web });
  const storm = await measureStorm(installation);
  console.table({ storm });
  // Last: it leaves the installation without NATS.
  const natsDown = await measureNatsDown(installation);
  console.table({ 'NATS down': natsDown });
  console.log(JSON.stringify({ node, polls, clients, web, natsDown, storm }));
} finally {
  await installation.stop();
}
