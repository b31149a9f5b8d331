export * from './config-message.js';
export * from './credential.js';
export * from './digest-tree.js';
export * from './digests.js';
export * from './documents.js';
export * from './quotas.js';
export * from './signature.js';
export * from './trusted-keys.js';
