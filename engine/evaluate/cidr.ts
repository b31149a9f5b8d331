/** Four bytes for IPv4, sixteen for IPv6. An address in ::ffff:0:0/96 is the IPv4 address it maps. */
export type IpAddress = readonly number[];

export interface CidrBlock {
  readonly address: IpAddress;
  /** Leading bits that count: 0-32 for IPv4, 0-128 for IPv6. */
  readonly bits: number;
}

const DECIMAL = /^(?:0|[1-9][0-9]{0,2})$/;
const HEX_GROUP = /^[0-9A-Fa-f]{1,4}$/;
const MAPPED_PREFIX = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
/** The longest text of an address; longer ones are not split. */
const ADDRESS_UNITS_MAX = 45;

/** Undefined when `text` is neither IPv4 (four decimals) nor IPv6 (RFC 4291, no zone, brackets or port). */
export function parseIpAddress(text: string): IpAddress | undefined {
  const address = parseUnmapped(text);
  return address !== undefined && isMapped(address) ? address.slice(12) : address;
}

/** An address, or `address/bits`. A block of at least 96 bits inside ::ffff:0:0/96 is a block of IPv4. */
export function parseCidrBlock(text: string): CidrBlock | undefined {
  const slash = text.indexOf('/');
  const address = parseUnmapped(slash < 0 ? text : text.slice(0, slash));
  if (address === undefined) return undefined;
  const bitCount = address.length * 8;
  const bits = slash < 0 ? bitCount : parseDecimal(text.slice(slash + 1), bitCount);
  if (bits === undefined) return undefined;
  return bits >= 96 && isMapped(address) ? { address: address.slice(12), bits: bits - 96 } : { address, bits };
}

/** Host bits of the block are ignored; families never match each other. */
export function isInBlock(address: IpAddress, block: CidrBlock): boolean {
  if (address.length !== block.address.length) return false;
  for (let index = 0; index * 8 < block.bits; index++) {
    const shift = Math.max(0, 8 - (block.bits - index * 8));
    if ((address[index] ?? 0) >> shift !== (block.address[index] ?? 0) >> shift) return false;
  }
  return true;
}

function parseUnmapped(text: string): IpAddress | undefined {
  if (text.length > ADDRESS_UNITS_MAX) return undefined;
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

function isMapped(address: IpAddress): boolean {
  return address.length === 16 && MAPPED_PREFIX.every((byte, index) => address[index] === byte);
}

function parseDecimal(text: string, max: number): number | undefined {
  if (!DECIMAL.test(text)) return undefined;
  return Number(text) <= max ? Number(text) : undefined;
}

function parseIpv4(text: string): IpAddress | undefined {
  const bytes: number[] = [];
  for (const part of text.split('.')) {
    const byte = parseDecimal(part, 255);
    if (byte === undefined) return undefined;
    bytes.push(byte);
  }
  return bytes.length === 4 ? bytes : undefined;
}

/** `::` stands for one or more groups of zeros and appears at most once. */
function parseIpv6(text: string): IpAddress | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const [left = '', right] = halves;
  if (right === undefined) {
    const bytes = parseGroups(left, true);
    return bytes?.length === 16 ? bytes : undefined;
  }
  const before = left === '' ? [] : parseGroups(left, false);
  const after = right === '' ? [] : parseGroups(right, true);
  if (before === undefined || after === undefined || before.length + after.length > 14) return undefined;
  const gap = Array.from({ length: 16 - before.length - after.length }, () => 0);
  return [...before, ...gap, ...after];
}

/** Groups between single colons. Only the last group of the whole address may be an IPv4 address. */
function parseGroups(text: string, isEnd: boolean): number[] | undefined {
  const groups = text.split(':');
  const bytes: number[] = [];
  for (const [index, group] of groups.entries()) {
    if (HEX_GROUP.test(group)) {
      const value = Number.parseInt(group, 16);
      bytes.push(value >> 8, value & 0xff);
      continue;
    }
    const tail = isEnd && index === groups.length - 1 ? parseIpv4(group) : undefined;
    if (tail === undefined) return undefined;
    bytes.push(...tail);
  }
  return bytes;
}
