import { Resolver } from 'node:dns/promises';
import { isIP, type LookupFunction } from 'node:net';
import { Agent, buildConnector } from 'undici';
import type { AddressRules, AddressVerdict } from './address-rules.js';
import { hostOf, isPublicForm } from './webhook-url.js';

const CONNECT_MS_MAX = 5_000;
const IDLE_MS = 10_000;
const HEADER_BYTES_MAX = 16 * 1024;
const RESOLVE_MS_MAX = 2_000;
const RESOLVE_TRIES = 2;
/** Of one name. Who owns a name says how many it has, and an answer of DNS has place for thousands. */
export const ADDRESSES_MAX = 64;

/** All addresses of a name. */
export type Resolve = (hostname: string) => Promise<readonly string[]>;

/** A connection that the rules do not permit. No packet has been sent. */
export class BlockedAddressError extends Error {
  constructor(host: string) {
    super(`${host} is, or leads to, an address that is not public`);
    this.name = 'BlockedAddressError';
  }
}

/**
 * An HTTP client for addresses that tenants choose. Each connection is decided by the addresses that its own socket would be given, so that
 * nothing can change between the look and the connect (DNS rebinding); one address that is not permitted refuses all of them. No
 * redirects, no proxies, no decompression, no HTTP/2.
 */
export function createGuardedAgent(rules: AddressRules, resolve: Resolve = resolveByDns()): Agent {
  const forPublic = connectorFor(rules, resolve, (verdict) => verdict !== 'refused');
  const forAllowed = connectorFor(rules, resolve, (verdict) => verdict === 'allowed');
  return new Agent({
    connect: (options, callback) => (isPublicForm(options) ? forPublic : forAllowed)(options, callback),
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: IDLE_MS,
    keepAliveMaxTimeout: IDLE_MS,
    maxHeaderSize: HEADER_BYTES_MAX,
  });
}

function connectorFor(
  rules: AddressRules,
  resolve: Resolve,
  isPermitted: (verdict: AddressVerdict) => boolean,
): buildConnector.connector {
  const lookup: LookupFunction = (hostname, options, callback) => {
    resolve(hostname).then(
      (addresses) => {
        if (addresses.length > ADDRESSES_MAX) {
          callback(Object.assign(new Error('the name has too many addresses'), { code: 'EADDRESSES' }), '', 0);
          return;
        }
        const found = addresses.map((address) => ({ address, family: isIP(address) }));
        const [first] = found;
        if (first === undefined || !rules.judgeAll(addresses).every(isPermitted)) {
          callback(new BlockedAddressError(hostname), '', 0);
        } else if (options.all === true) callback(null, found);
        else callback(null, first.address, first.family);
      },
      (error: NodeJS.ErrnoException) => callback(error, '', 0),
    );
  };
  const connect = buildConnector({ timeout: CONNECT_MS_MAX, lookup });
  return (options, callback) => {
    const host = hostOf(options);
    // A socket asks no lookup about what is an address already.
    if (isIP(host) !== 0 && !isPermitted(rules.judge(host))) {
      queueMicrotask(() => callback(new BlockedAddressError(host), null));
    } else connect(options, callback);
  };
}

/** By c-ares, not getaddrinfo: that one runs in the thread pool, where a few names that never resolve would hold up commits. */
function resolveByDns(): Resolve {
  const resolver = new Resolver({ timeout: RESOLVE_MS_MAX, tries: RESOLVE_TRIES });
  return (hostname) => resolveAll(resolver, hostname);
}

/** Both families. Throws when neither has an address. */
export async function resolveAll(resolver: Resolver, hostname: string): Promise<readonly string[]> {
  const answers = await Promise.allSettled([resolver.resolve4(hostname), resolver.resolve6(hostname)]);
  const addresses = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
  const [failure] = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason as Error] : []));
  if (addresses.length === 0) throw failure ?? new Error(`${hostname} has no address`);
  return addresses;
}
