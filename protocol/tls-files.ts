import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { PlatformError } from './platform-error.js';

/** Where the certificate (with its chain) and its private key lie, both PEM. Read at the start and at each reload. */
export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** Both files as they are now, once it is sure that they can be served together; throws a sentence that names the file at fault. */
export function readTlsFiles({ certFile, keyFile }: TlsFiles): { readonly cert: Buffer; readonly key: Buffer } {
  const cert = readPem(certFile, '--tls-cert');
  const key = readPem(keyFile, '--tls-key');
  try {
    createSecureContext({ cert });
  } catch (cause) {
    throw refusal(`--tls-cert: ${certFile} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)`, cause);
  }
  try {
    createSecureContext({ cert, key });
  } catch (cause) {
    const how = 'it must be the unencrypted PEM key that the certificate was made for';
    throw refusal(`--tls-key: ${keyFile} does not fit ${certFile}: ${how}`, cause);
  }
  return { cert, key };
}

/** The PEM certificates of an authority, for peers whose certificates no public one signed; `option` is what named the file. */
export function readCaFile(path: string, option: string): string {
  const ca = readPem(path, option).toString('latin1');
  try {
    if (!ca.includes('-----BEGIN CERTIFICATE-----')) throw new Error('no PEM block');
    createSecureContext({ ca });
  } catch (cause) {
    throw refusal(`${option}: ${path} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)`, cause);
  }
  return ca;
}

function readPem(path: string, option: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown';
    const hint =
      code === 'EACCES'
        ? 'let the user that runs this read it'
        : 'give the path of a PEM file, absolute or from where this was started';
    throw refusal(`${option}: ${path} cannot be read (${code}): ${hint}`, cause);
  }
}

function refusal(detail: string, cause: unknown): PlatformError {
  return new PlatformError('validation-failed', detail, { cause });
}
