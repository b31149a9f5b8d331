import { type EnvironmentRef, parseEnvironmentRef } from '../environment-ref.js';
import { PlatformError } from '../platform-error.js';
import { type CredentialQuotas, parseCredentialQuotas, parseTenantQuotas, type TenantQuotas } from './quotas.js';

/** The envelope version this build reads and writes. An unknown one refuses the whole document. */
export const DOCUMENT_SCHEMA = 1;

/** What is signed for each revision. Order everywhere is (epoch, revision); only a restore or a promotion raises the epoch. */
export interface Manifest extends EnvironmentRef {
  readonly epoch: number;
  /** Starts at 1, +1 per committed change. */
  readonly revision: number;
  /** Digest of the revision before, '' at the first. */
  readonly previousDigest: string;
  /** DigestTree root over all definitions, hex. */
  readonly digest: string;
  readonly schema: number;
  readonly keyId: string;
  /** Epoch milliseconds. Never used for order. */
  readonly issuedAt: number;
  /** Epoch milliseconds. Past it a manifest is refused when new and kept when already active. */
  readonly expiresAt: number;
}

export type CredentialKind = 'srv' | 'web' | 'node' | 'adm';
export const CREDENTIAL_KINDS: readonly CredentialKind[] = ['srv', 'web', 'node', 'adm'];

/** Who may evaluate in one environment. Travels like config, with a sequence of its own. */
export interface AccessList extends EnvironmentRef {
  readonly epoch: number;
  /** +1 per change of the list. */
  readonly sequence: number;
  readonly schema: number;
  readonly keyId: string;
  readonly issuedAt: number;
  /**
   * 128 random bits, base64url: the path under which shared caches may keep this environment's config. Another one once a `srv` key has ended.
   * Absent in lists that were signed before there were any.
   */
  readonly cacheToken?: string;
  /** The tenant's; of the lists of its environments the one issued last counts. Absent = the node's defaults. */
  readonly quotas?: TenantQuotas;
  readonly entries: readonly AccessEntry[];
}

export interface AccessEntry {
  readonly credentialId: string;
  readonly kind: 'srv' | 'web';
  /** SHA-256 of the secret, hex. */
  readonly secretHash: string;
  /** Epoch milliseconds; null = no end. */
  readonly notAfter: number | null;
  readonly revoked: boolean;
  /** Known: `explain`. */
  readonly permissions: readonly string[];
  /** Origins a browser may send with this key; `*` allows every one. Only for `web`. */
  readonly allowedOrigins: readonly string[];
  /** Beside the tenant's, which hold for all its credentials together. Absent = the node's defaults. */
  readonly quotas?: CredentialQuotas;
}

/** A key that signs manifests, access lists and tree heads. */
export interface TrustedKey {
  readonly keyId: string;
  /** Raw 32 bytes, base64url. */
  readonly publicKey: string;
  /** It has been retired: what says that it was issued later (epoch milliseconds) is refused. Absent = in force. */
  readonly notAfter?: number;
}

/** The signing keys in force or retired, signed by the root key. `version` only grows. A key that is not named has been revoked. */
export interface KeySet {
  readonly schema: number;
  readonly version: number;
  readonly issuedAt: number;
  readonly keys: readonly TrustedKey[];
}

/** Members are written in the order of the literal: equal documents give equal bytes. */
export function encodeDocument(document: Manifest | AccessList | KeySet): Uint8Array {
  return Buffer.from(JSON.stringify(document), 'utf8');
}

export function parseManifest(bytes: Uint8Array): Manifest {
  const value = parseObject(bytes, 'manifest');
  return {
    ...parseEnvironmentRef(value),
    epoch: counter(value, 'epoch'),
    revision: counter(value, 'revision'),
    previousDigest: text(value, 'previousDigest', /^([0-9a-f]{64})?$/),
    digest: text(value, 'digest', /^[0-9a-f]{64}$/),
    schema: schemaOf(value),
    keyId: text(value, 'keyId', /^[A-Za-z0-9_-]{1,64}$/),
    issuedAt: counter(value, 'issuedAt'),
    expiresAt: counter(value, 'expiresAt'),
  };
}

export function parseAccessList(bytes: Uint8Array): AccessList {
  const value = parseObject(bytes, 'access list');
  return {
    ...parseEnvironmentRef(value),
    epoch: counter(value, 'epoch'),
    sequence: counter(value, 'sequence'),
    schema: schemaOf(value),
    keyId: text(value, 'keyId', /^[A-Za-z0-9_-]{1,64}$/),
    issuedAt: counter(value, 'issuedAt'),
    ...(value.cacheToken === undefined ? {} : { cacheToken: text(value, 'cacheToken', /^[A-Za-z0-9_-]{22}$/) }),
    ...(value.quotas === undefined ? {} : { quotas: parseTenantQuotas(value.quotas) }),
    entries: list(value, 'entries').map(parseAccessEntry),
  };
}

function parseAccessEntry(item: unknown): AccessEntry {
  const value = asObject(item, 'entry');
  const kind = text(value, 'kind', /^(srv|web)$/);
  return {
    credentialId: text(value, 'credentialId', /^[A-Za-z0-9]{22}$/),
    kind: kind === 'web' ? 'web' : 'srv',
    secretHash: text(value, 'secretHash', /^[0-9a-f]{64}$/),
    notAfter: value.notAfter === null ? null : counter(value, 'notAfter'),
    revoked: value.revoked !== false,
    permissions: list(value, 'permissions').map(String),
    allowedOrigins: list(value, 'allowedOrigins').map(String),
    ...(value.quotas === undefined ? {} : { quotas: parseCredentialQuotas(value.quotas) }),
  };
}

export function parseKeySet(bytes: Uint8Array): KeySet {
  const value = parseObject(bytes, 'key set');
  return {
    schema: schemaOf(value),
    version: counter(value, 'version'),
    issuedAt: counter(value, 'issuedAt'),
    keys: list(value, 'keys').map((item) => {
      const key = asObject(item, 'key');
      return {
        keyId: text(key, 'keyId', /^[A-Za-z0-9_-]{1,64}$/),
        publicKey: text(key, 'publicKey', /^[A-Za-z0-9_-]{43}$/),
        ...(key.notAfter === undefined ? {} : { notAfter: counter(key, 'notAfter') }),
      };
    }),
  };
}

type Members = Readonly<Record<string, unknown>>;

function parseObject(bytes: Uint8Array, name: string): Members {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new PlatformError('malformed-body', `the ${name} is not JSON`, { cause });
  }
  return asObject(value, name);
}

function asObject(value: unknown, name: string): Members {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(name, 'an object');
  return Object.fromEntries(Object.entries(value));
}

function counter(value: Members, name: string): number {
  const number = value[name];
  if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < 0) return refuse(name, 'a whole number');
  return number;
}

function text(value: Members, name: string, pattern: RegExp): string {
  const string = value[name];
  if (typeof string !== 'string' || !pattern.test(string)) return refuse(name, `a string like ${pattern.source}`);
  return string;
}

function list(value: Members, name: string): readonly unknown[] {
  const array = value[name];
  return Array.isArray(array) ? array : refuse(name, 'an array');
}

function schemaOf(value: Members): number {
  if (value.schema !== DOCUMENT_SCHEMA) return refuse('schema', `${DOCUMENT_SCHEMA}`);
  return DOCUMENT_SCHEMA;
}

function refuse(name: string, expected: string): never {
  throw new PlatformError('validation-failed', `signed document: ${name} must be ${expected}`);
}
