import { readFileSync } from 'node:fs';
import { findCredential } from '@guidon/protocol/signed-config';
import type { EvaluationHook } from './hooks.js';
import type { LocalConfig } from './local-config.js';

/** How changes reach the client. A poll runs beside every stream. */
export type StreamKind = 'websocket' | 'sse' | 'poll';

/** Where what goes wrong is said. Default: `process.emitWarning`. */
export interface Logger {
  warn(message: string, error?: unknown): void;
}

/** Each has a default; `url`, `key` and `trustRoot` are taken from the environment where they are not given. */
export interface ClientOptions {
  /** Of a node, such as `https://flags.example.com`; several take turns when one is not reached. Or GUIDON_URL, separated by commas. */
  readonly url?: string | readonly string[];
  /** A server key, `gdn_srv_…`. Or GUIDON_KEY, or the file that GUIDON_KEY_FILE names. */
  readonly key?: string;
  /**
   * Fingerprint of the root key, shown beside each server key. Or GUIDON_TRUST_ROOT. Without it the first root key that is seen is trusted, with a
   * warning, and another one is refused later.
   */
  readonly trustRoot?: string;
  /** Config of any other environment is refused. Without it the first environment that is seen is kept to. */
  readonly environmentId?: string;
  /** Default `websocket`; where it does not get through, `sse` is tried in turn. `poll`: no stream. */
  readonly stream?: StreamKind;
  /** How often a node is asked, whether or not a stream is up: 5 to 60, default 30; each time up to a quarter earlier. */
  readonly pollSeconds?: number;
  /** Where the last good configuration is kept, for starts with nobody there. Default: nowhere. One file per key, readable by its owner alone. */
  readonly dataFolder?: string;
  /** Flags come from this file alone (docs/sdk-server.md), which is watched; no node is asked. */
  readonly offlineFile?: string;
  /** What is served before the first configuration, with reason CACHED. */
  readonly bootstrap?: LocalConfig;
  /** Answers have reason STALE when no node has been reached for so long: 10 and more, default 120. */
  readonly staleAfterSeconds?: number;
  /** Tell nodes of evaluations, exposures and metrics. Default true. */
  readonly events?: boolean;
  readonly logger?: Logger;
  /** Told of each evaluation, in this order. */
  readonly hooks?: readonly EvaluationHook[];
}

/** The options as they are used. */
export interface Settings {
  readonly urls: readonly string[];
  readonly key: string;
  /** Of the key. '' offline. */
  readonly credentialId: string;
  readonly trustRoot: string | undefined;
  readonly environmentId: string | undefined;
  readonly stream: StreamKind;
  readonly pollMs: number;
  readonly dataFolder: string | undefined;
  readonly offlineFile: string | undefined;
  readonly bootstrap: LocalConfig | undefined;
  readonly staleAfterMs: number;
  readonly sendsEvents: boolean;
  readonly warn: (message: string, error?: unknown) => void;
  readonly hooks: readonly EvaluationHook[];
}

/** `process.env`. Named so that whoever compiles against this package needs no types of Node. */
export type Environment = Readonly<Record<string, string | undefined>>;

const STREAM_KINDS: readonly string[] = ['websocket', 'sse', 'poll'];

/** Throws TypeError for what can never work: it is wrong in the program or its environment. */
export function parseOptions(options: ClientOptions, env: Environment): Settings {
  const { stream = 'websocket', pollSeconds = 30, staleAfterSeconds = 120, offlineFile, logger } = options;
  if (!STREAM_KINDS.includes(stream)) throw new TypeError('stream must be websocket, sse or poll');
  if (!(pollSeconds >= 5 && pollSeconds <= 60)) throw new TypeError('pollSeconds must be from 5 to 60');
  if (!(staleAfterSeconds >= 10)) throw new TypeError('staleAfterSeconds must be 10 or more');
  const isOffline = offlineFile !== undefined;
  const key = isOffline ? '' : keyFrom(options, env);
  const trustRoot = options.trustRoot ?? env.GUIDON_TRUST_ROOT;
  if (trustRoot !== undefined && !/^[A-Za-z0-9_-]{43}$/.test(trustRoot))
    throw new TypeError('trustRoot must be a fingerprint of 43 characters');
  return {
    urls: isOffline ? [] : urlsFrom(options, env),
    key,
    credentialId: isOffline ? '' : credentialIdOf(key),
    trustRoot,
    environmentId: options.environmentId,
    stream,
    pollMs: pollSeconds * 1000,
    dataFolder: options.dataFolder,
    offlineFile,
    bootstrap: options.bootstrap,
    staleAfterMs: staleAfterSeconds * 1000,
    sendsEvents: options.events !== false && !isOffline,
    warn: logger === undefined ? emitWarning : (message, error) => logger.warn(message, error),
    hooks: [...(options.hooks ?? [])],
  };
}

function urlsFrom({ url }: ClientOptions, env: Environment): readonly string[] {
  const urls = typeof url === 'string' ? [url] : (url ?? env.GUIDON_URL?.split(',') ?? []);
  if (urls.length === 0) throw new TypeError('url is missing: give it, or set GUIDON_URL');
  return urls.map((text) => {
    const trimmed = text.trim().replace(/\/+$/, '');
    if (!/^https?:\/\/[^/?#@]+(\/[^?#]*)?$/.test(trimmed)) throw new TypeError('url must be http(s)://host');
    return trimmed;
  });
}

function keyFrom({ key }: ClientOptions, env: Environment): string {
  if (key !== undefined) return key.trim();
  if (env.GUIDON_KEY !== undefined) return env.GUIDON_KEY.trim();
  if (env.GUIDON_KEY_FILE === undefined) throw new TypeError('key is missing: give it, or set GUIDON_KEY');
  try {
    return readFileSync(env.GUIDON_KEY_FILE, 'utf8').trim();
  } catch (cause) {
    throw new TypeError('the file that GUIDON_KEY_FILE names cannot be read', { cause });
  }
}

function credentialIdOf(key: string): string {
  const credential = findCredential(key);
  // Never the key itself: messages end in logs (I24).
  if (credential === undefined) throw new TypeError('key is not a whole key: it may be cut or mistyped');
  if (credential.kind !== 'srv') throw new TypeError('key must be a server key: gdn_srv_…');
  return credential.credentialId;
}

function emitWarning(message: string, error?: unknown): void {
  process.emitWarning(error instanceof Error ? `${message}: ${error.message}` : message, 'GuidonWarning');
}
