export { Backoff, type Json, type JsonObject } from '@guidon/protocol';
export * from './context.js';
export * from './event-buffer.js';
export * from './event-context.js';
export * from './event-ids.js';
export * from './flag-details.js';
export * from './flag-types.js';
export * from './listener-set.js';
export * from './value-type.js';
