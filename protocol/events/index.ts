export * from './event.js';
export * from './event-carrier.js';
export * from './event-message.js';
export * from './parse-event-batch.js';
