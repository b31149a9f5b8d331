import { deleteProto } from '@guidon/protocol';
import { NodeProcess } from '@guidon/server';
import { createLogger } from './logger.js';
import { openBus, openEvents } from './open-bus.js';

/** What `guidon server --processes` forks: one process of the node. It is told everything by its parent. */
deleteProto();
if (process.send === undefined) throw new Error('this is started by `guidon server --processes`');
NodeProcess.run(createLogger, { openBus, openEvents });
