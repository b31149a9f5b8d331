export * from './check-proof.js';
export * from './make-proof.js';
export * from './merkle-tree.js';
export * from './tree-head.js';
export * from './verify-log.js';
