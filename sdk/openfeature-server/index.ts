export * from './guidon-provider.js';
export * from './open-telemetry-hook.js';
