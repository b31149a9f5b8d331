export { type MetricFamily, renderFamilies } from '@guidon/protocol/metrics';
export { HealthServer } from '../metrics/health-server.js';
export { parseNodeQuotas } from '../quota/node-quotas.js';
export type { ChildMessage, ParentMessage } from './messages.js';
export { ProcessGroup, type ProcessGroupOptions, type RunningProcessGroup } from './process-group.js';
export { type SupervisedOptions, Supervisor } from './supervisor.js';
