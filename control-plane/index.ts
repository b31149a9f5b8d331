export { signBreakGlass } from './break-glass/break-glass-assertion.js';
export { type ControlPlaneOptions, type RunningControlPlane, startControlPlane } from './start-control-plane.js';
