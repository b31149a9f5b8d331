export { compactStore } from './backup/compact-store.js';
export { type BackupReport, makeBackup } from './backup/make-backup.js';
export { findKeys, type KeyFindings, type RestoreReport, restoreBackup } from './backup/restore-backup.js';
export { type VerifiedBackup, verifyBackup } from './backup/verify-backup.js';
export { signBreakGlass } from './break-glass/break-glass-assertion.js';
export {
  type ControlPlaneOptions,
  type ControlPlaneStatus,
  type RunningControlPlane,
  startControlPlane,
} from './start-control-plane.js';
