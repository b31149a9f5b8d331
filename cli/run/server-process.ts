import { deleteProto } from '@guidon/protocol';
import { NodeProcess } from '@guidon/server';
import { createLogger } from './logger.js';
import { openBus, openEvents } from './open-bus.js';
import { type StopTracing, startTracing } from './tracing.js';

/** What `guidon server --processes` forks: one process of the node. It is told everything by its parent. */
deleteProto();
if (process.send === undefined) throw new Error('this is started by `guidon server --processes`');
let stopTracing: StopTracing | undefined;
NodeProcess.run(createLogger, {
  openBus: async (settings, logger) => {
    // Traces come with messages of the bus.
    stopTracing = await startTracing('guidon-node', logger);
    return openBus(settings, logger);
  },
  openEvents,
  beforeExit: async () => stopTracing?.(),
});
