/** For providers of OpenFeature. */

export type {
  Context,
  FlagDetails,
  FlagErrorCode,
  FlagKey,
  FlagMetadata,
  FlagReason,
  FlagTypes,
  FlagValueOf,
  Json,
  JsonObject,
  Structure,
} from '@guidon/sdk-core';
export { resolutionOf, toJson } from '@guidon/sdk-core';
export * from './browser-client.js';
export type { BrowserClientOptions } from './client-options.js';
export * from './create-browser-client.js';
export type { StreamTransport } from './open-stream.js';
export type { ValueStorage } from './stored-values.js';
export { createTestClient, type RecordedUse, type TestClient } from './test-client.js';
