export { type ControlPlaneOptions, type RunningControlPlane, startControlPlane } from './start-control-plane.js';
