export { findAuditBreak } from './audit/audit-entry.js';
export { type ControlPlaneOptions, type RunningControlPlane, startControlPlane } from './start-control-plane.js';
