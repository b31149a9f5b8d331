import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type BusSettings, PlatformError } from '@guidon/protocol';
import {
  type ConnectionOptions,
  credsAuthenticator,
  type JetStreamOptions,
  type NatsConnection,
  NatsError,
} from 'nats';

/** The largest message of ours and its envelope; below the 1 MiB that servers take by default. */
export const MESSAGE_BYTES_MAX = 640 * 1024;
export const PUBLISH_TIMEOUT_MS = 2_000;
const CONNECT_TIMEOUT_MS = 2_000;
/** A dead server is noticed after 6 s (M10): two pings without an answer. */
const PING_INTERVAL_MS = 2_000;
const PING_OUT_MAX = 2;
const RECONNECT_MS_MIN = 100;
const RECONNECT_MS_MAX = 2_000;

/**
 * Runs session after session until the signal. Full jitter over a window that grows, and is small again after `onUp`: nodes that lost a server
 * together do not come back together (I25). `onEnded` is told why each one ended, and whether that is another reason than before: it may go on for
 * days. Never rejects.
 */
export async function repeatSessions(
  session: (onUp: () => void) => Promise<void>,
  signal: AbortSignal,
  onEnded: (reason: string, isNew: boolean) => void,
): Promise<void> {
  let windowMs = RECONNECT_MS_MIN;
  let lastReason = '';
  while (!signal.aborted) {
    let reason = 'the connection ended';
    try {
      await session(() => {
        windowMs = RECONNECT_MS_MIN;
      });
    } catch (error) {
      reason = reasonOf(error);
    }
    if (signal.aborted) return;
    onEnded(reason, reason !== lastReason);
    lastReason = reason;
    await sleep(Math.max(20, Math.random() * windowMs), undefined, { signal }).catch(() => {});
    windowMs = Math.min(windowMs * 2, RECONNECT_MS_MAX);
  }
}

export function jetstreamOptionsOf({ domain }: BusSettings): JetStreamOptions {
  return { timeout: PUBLISH_TIMEOUT_MS, ...(domain === undefined ? {} : { domain }) };
}

export function connectionOptions(settings: BusSettings): ConnectionOptions {
  const { credsFile, caFile, certFile, keyFile } = settings;
  const urls = settings.servers.map((server) => new URL(server));
  const [first] = urls;
  const hasTls = urls.some(({ protocol }) => protocol === 'tls:') || [caFile, certFile, keyFile].some(Boolean);
  return {
    servers: urls.map(({ host }) => host),
    ...(first === undefined || first.username === ''
      ? {}
      : { user: decodeURIComponent(first.username), pass: decodeURIComponent(first.password) }),
    ...(credsFile === undefined ? {} : { authenticator: credsAuthenticator(readFileSync(credsFile)) }),
    ...(hasTls ? { tls: { ...present({ caFile, certFile, keyFile }) } } : {}),
    name: 'guidon',
    timeout: CONNECT_TIMEOUT_MS,
    pingInterval: PING_INTERVAL_MS,
    maxPingOut: PING_OUT_MAX,
    // Each next session makes its own connection.
    reconnect: false,
  };
}

function present(files: { readonly [name: string]: string | undefined }): Record<string, string> {
  return Object.fromEntries(
    Object.entries(files).flatMap(([name, file]) => (file === undefined ? [] : [[name, file]])),
  );
}

export function assertSuitable(connection: NatsConnection): void {
  const { version = '0', jetstream, max_payload: payloadBytesMax = 0 } = connection.info ?? {};
  const server = connection.getServer();
  const refuse = (sentence: string) => new PlatformError('validation-failed', sentence);
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major < 2 || (major === 2 && minor < 9)) {
    throw refuse(`the NATS server at ${server} is version ${version}: Guidon needs 2.9 or later`);
  }
  if (jetstream !== true) {
    throw refuse(
      `the NATS server at ${server} runs without JetStream: start it with -js, or add jetstream {} to its file`,
    );
  }
  if (payloadBytesMax < MESSAGE_BYTES_MAX) {
    throw refuse(`the NATS server at ${server} takes ${payloadBytesMax} bytes: set max_payload to 1MB`);
  }
}

export function isNotFound(error: unknown): boolean {
  return error instanceof NatsError && error.api_error?.code === 404;
}

export function reasonOf(error: unknown): string {
  if (error instanceof PlatformError || !(error instanceof NatsError)) {
    return error instanceof Error ? error.message : String(error);
  }
  return error.code === error.message ? error.message : `${error.message} (${error.code})`;
}
