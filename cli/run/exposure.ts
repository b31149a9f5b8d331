import { resolve } from 'node:path';
import { PlatformError } from '@guidon/protocol';
import { readTlsFiles, type TlsFiles } from '@guidon/protocol/tls-files';

export interface ExposureOptions {
  readonly host: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly trustedProxy?: readonly string[];
}

export interface Exposure {
  readonly tls?: TlsFiles;
  readonly trustedProxies?: readonly string[];
}

/**
 * How connections are protected. Throws, with the ways out, when others than this machine could connect in clear text: credentials go over
 * every connection.
 */
export function exposureOf({ host, tlsCert, tlsKey, trustedProxy }: ExposureOptions): Exposure {
  const trustedProxies = trustedProxy === undefined ? {} : { trustedProxies: trustedProxy };
  if (tlsCert !== undefined && tlsKey !== undefined) {
    const tls = { certFile: resolve(tlsCert), keyFile: resolve(tlsKey) };
    readTlsFiles(tls);
    return { tls, ...trustedProxies };
  }
  if (tlsCert !== undefined || tlsKey !== undefined) {
    const [given, missing] = tlsCert === undefined ? ['--tls-key', '--tls-cert'] : ['--tls-cert', '--tls-key'];
    throw new PlatformError('validation-failed', `${given} needs ${missing} beside it`);
  }
  if (trustedProxy === undefined && !isLoopback(host)) {
    throw new PlatformError(
      'validation-failed',
      `--host ${host} would take connections from other machines in clear text, credentials included. Either give --tls-cert and ` +
        '--tls-key; or name the proxy in front that speaks TLS with --trusted-proxy; or listen on 127.0.0.1 and let a proxy on this machine connect',
    );
  }
  return trustedProxies;
}

/** Only this machine can connect. A name other than localhost may lead anywhere. */
export function isLoopback(host: string): boolean {
  return /^(127(\.\d{1,3}){3}|::1|localhost)$/.test(host);
}
