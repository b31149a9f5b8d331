export type { Explanation } from '@guidon/engine/in-process';
export * from '@guidon/sdk-core';
export type * from './client.js';
export { createClient } from './create-client.js';
export type * from './hooks.js';
export type { LocalConfig } from './local-config.js';
export type { ClientOptions, Logger, StreamKind } from './settings.js';
export { createTestClient, type RecordedEvaluation, type RecordedEvent, type TestClient } from './test-client.js';
