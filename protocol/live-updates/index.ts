export * from './client-message.js';
export * from './close-codes.js';
export * from './config-text.js';
export * from './server-message.js';
export * from './stream-token.js';
