export { parseNodeQuotas } from '../quota/node-quotas.js';
export { ProcessGroup, type ProcessGroupOptions, type RunningProcessGroup } from './process-group.js';
