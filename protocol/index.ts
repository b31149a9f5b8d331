export * from './change-bus.js';
export * from './environment-ref.js';
export * from './error-code.js';
export * from './json.js';
export * from './limits.js';
export * from './platform-error.js';
export * from './problem.js';
export * from './subjects.js';
