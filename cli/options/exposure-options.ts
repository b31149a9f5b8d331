import { isIP } from 'node:net';
import { InvalidArgumentError, Option } from 'commander';
import { givenText, httpUrl } from './parsers.js';

/** What `--host` has to do with: how connections are protected, and who stands in front. */

export const tlsCert = () =>
  new Option('--tls-cert <file>', 'PEM certificate with its chain: speak HTTPS; read anew on SIGHUP')
    .env('GUIDON_TLS_CERT')
    .argParser(givenText);

export const tlsKey = () =>
  new Option('--tls-key <file>', 'PEM key of --tls-cert').env('GUIDON_TLS_KEY').argParser(givenText);

export const publicUrl = () =>
  new Option('--public-url <url>', 'what people and nodes call, when a proxy or a name stands before this')
    .env('GUIDON_PUBLIC_URL')
    .argParser(httpUrl);

/** `what` says what the trust is for: the planes differ. */
export const trustedProxy = (what: string) =>
  new Option('--trusted-proxy <cidr...>', what).env('GUIDON_TRUSTED_PROXY').argParser(addressRanges);

export const webhookAllow = () =>
  new Option(
    '--webhook-allow <cidr...>',
    'addresses that webhooks may call although they are not public, then also by plain HTTP and at any port',
  )
    .env('GUIDON_WEBHOOK_ALLOW')
    .argParser(addressRanges);

export const controlPlaneCa = () =>
  new Option('--control-plane-ca <file>', 'PEM certificates to trust for --control-plane, instead of the public ones')
    .env('GUIDON_CONTROL_PLANE_CA')
    .argParser(givenText);

export const upstreamCa = () =>
  new Option('--upstream-ca <file>', 'PEM certificates to trust for --upstream, instead of the public ones')
    .env('GUIDON_UPSTREAM_CA')
    .argParser(givenText);

/** Repeatable, and separated by commas or blanks: an environment variable holds all of them. */
function addressRanges(value: string, before: unknown): string[] {
  const ranges = value.split(/[\s,]+/).filter((range) => range !== '');
  if (ranges.length === 0 || !ranges.every(isAddressRange)) {
    throw new InvalidArgumentError('Give addresses or CIDR ranges such as 10.0.0.0/8 or ::1, separated by commas.');
  }
  return [...(Array.isArray(before) ? before.map(String) : []), ...ranges];
}

function isAddressRange(range: string): boolean {
  const [address = '', bits, ...rest] = range.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}
