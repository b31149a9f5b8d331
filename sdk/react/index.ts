export * from './guidon-provider.js';
export * from './use-flag.js';
