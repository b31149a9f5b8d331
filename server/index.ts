export { NodeProcess } from './processes/node-process.js';
export { type NodeQuotas, parseNodeQuotas } from './quota/node-quotas.js';
export { type RunningServer, type ServerOptions, startServer } from './start-server.js';
