/** Everything that needs msgpackr, which is a peer: SDKs speak JSON and are installed without it. */
export * from './config-message-bytes.js';
export * from './server-message-bytes.js';
