import { BlockList, isIP } from 'node:net';
import { networkInterfaces } from 'node:os';

/** Of IPv4, what is not for everybody: IANA's special-purpose registry, multicast and what is reserved. */
const SPECIAL_IPV4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
] as const;

/** Of IPv6 only this is for everybody: mapped, translated (NAT64) and local addresses lie outside of it. */
const GLOBAL_IPV6 = '2000::/3';
/** Within it: protocol assignments with Teredo, documentation, 6to4. The first and the last carry an IPv4 address. */
const SPECIAL_IPV6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20'] as const;

/** `public`: anybody's. `allowed`: the operator has named it. `refused`: ours or a neighbour's, or no address at all. */
export type AddressVerdict = 'public' | 'allowed' | 'refused';

/** Where requests to addresses that tenants choose may go (OWASP API7). Decided about an address, never about a name: names change between two looks. */
export class AddressRules {
  /** Has the operator allowed anything that is not public? */
  readonly hasAllowed: boolean;
  readonly #allowed: BlockList;
  readonly #ownAddresses: () => readonly string[];

  /** `allow`: addresses and CIDR ranges, which `--webhook-allow` has checked. `ownAddresses`: default, those of this machine now. */
  constructor(allow: readonly string[] = [], ownAddresses: () => readonly string[] = addressesOfThisMachine) {
    this.#allowed = listOf(allow);
    this.#ownAddresses = ownAddresses;
    this.hasAllowed = allow.length > 0;
  }

  judge(address: string): AddressVerdict {
    return this.#judge(address, this.#ownAddresses());
  }

  /** Of each; this machine is asked for its own addresses once, which takes as long as everything else here together. */
  judgeAll(addresses: readonly string[]): AddressVerdict[] {
    const own = this.#ownAddresses();
    return addresses.map((address) => this.#judge(address, own));
  }

  #judge(address: string, own: readonly string[]): AddressVerdict {
    const version = isIP(address);
    if (version === 0) return 'refused';
    const family = version === 4 ? 'ipv4' : 'ipv6';
    if (this.#allowed.check(address, family)) return 'allowed';
    const isSpecial =
      family === 'ipv4'
        ? SPECIAL.check(address, family)
        : !GLOBAL.check(address, family) || SPECIAL.check(address, family);
    // Of this machine, public ones too: what listens there may trust whoever comes from it.
    return isSpecial || own.includes(address) ? 'refused' : 'public';
  }
}

const SPECIAL = listOf([...SPECIAL_IPV4, ...SPECIAL_IPV6]);
const GLOBAL = listOf([GLOBAL_IPV6]);

function addressesOfThisMachine(): string[] {
  return Object.values(networkInterfaces()).flatMap((all) => all?.map(({ address }) => address) ?? []);
}

function listOf(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = '', prefix] = range.split('/');
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    if (prefix === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(prefix), family);
  }
  return list;
}
