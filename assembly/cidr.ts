import { CIDR_ADDRESS, CIDR_BYTES, CIDR_FAMILY, CIDR_PREFIX_BITS, SLOT_STATE_ADDRESS, SLOT_STATE_LENGTH, SLOT_STATE_TYPE, THREAD_ADDRESS, VALUE_STRING } from "./layout";

/** The longest text of an address. */
const ADDRESS_TEXT_MAX: u32 = 45;

/** Is the address of `state` inside any of `count` CIDR blocks? */
export function matchesCidr(thread: usize, blocks: usize, count: u32, state: usize): bool {
  const length = load<u32>(state, SLOT_STATE_LENGTH);
  if (load<u16>(state, SLOT_STATE_TYPE) !== VALUE_STRING || length > ADDRESS_TEXT_MAX) return false;
  const address = thread + THREAD_ADDRESS;
  const at = <usize>load<u32>(state, SLOT_STATE_ADDRESS);
  const family = parseAddress(address, at, at + length);
  if (family === 0) return false;
  for (; count > 0; --count) {
    if (load<u16>(blocks, CIDR_FAMILY) === family && isInBlock(address, blocks)) return true;
    blocks += CIDR_BYTES;
  }
  return false;
}

/** Host bits of the block are 0: the compiler cleared them. */
function isInBlock(address: usize, block: usize): bool {
  const bits = load<u16>(block, CIDR_PREFIX_BITS);
  const whole = <usize>(bits >> 3);
  for (let index: usize = 0; index < whole; ++index) {
    if (load<u8>(address + index) !== load<u8>(block + CIDR_ADDRESS + index)) return false;
  }
  const rest = bits & 7;
  if (rest === 0) return true;
  const mask = (0xff00 >> rest) & 0xff;
  return (load<u8>(address + whole) & mask) === (load<u8>(block + CIDR_ADDRESS + whole) & mask);
}

/** Writes the address in binary; returns 4, 6 or 0 = no address. An IPv6 address that maps an IPv4 one is that one. */
function parseAddress(to: usize, at: usize, end: usize): u32 {
  if (parseIpv4(to, at, end)) return 4;
  if (!parseIpv6(to, at, end)) return 0;
  if (load<u64>(to) !== 0 || load<u32>(to, 8) !== 0xffff0000) return 6;
  store<u32>(to, load<u32>(to, 12));
  return 4;
}

/** Four decimals 0-255 without leading zeros, up to `end`. */
function parseIpv4(to: usize, at: usize, end: usize): bool {
  for (let part: usize = 0; part < 4; ++part) {
    if (part > 0) {
      if (at >= end || load<u8>(at) !== 0x2e) return false;
      ++at;
    }
    const start = at;
    let value: u32 = 0;
    while (at < end && at < start + 3 && <u32>load<u8>(at) - 0x30 <= 9) {
      value = value * 10 + (<u32>load<u8>(at) - 0x30);
      ++at;
    }
    if (at === start || value > 255 || (load<u8>(start) === 0x30 && at - start > 1)) return false;
    store<u8>(to + part, value);
  }
  return at === end;
}

/** RFC 4291 text: eight groups, or fewer with one `::` for at least one group of zeros; the last two may be an IPv4 address. */
function parseIpv6(to: usize, at: usize, end: usize): bool {
  let bytes: usize = 0;
  let gapAt: usize = 17; // none yet
  if (at + 2 <= end && load<u16>(at) === 0x3a3a) {
    gapAt = 0;
    at += 2;
  }
  while (at < end) {
    if (bytes === 16) return false;
    const start = at;
    let value: u32 = 0;
    while (at < end && at < start + 4) {
      const digit = hexDigit(load<u8>(at));
      if (digit > 15) break;
      value = (value << 4) | digit;
      ++at;
    }
    if (at < end && load<u8>(at) === 0x2e) {
      if (bytes > 12 || !parseIpv4(to + bytes, start, end)) return false;
      bytes += 4;
      at = end;
      break;
    }
    if (at === start) return false;
    store<u8>(to + bytes, value >> 8);
    store<u8>(to + bytes, value, 1);
    bytes += 2;
    if (at === end) break;
    if (load<u8>(at) !== 0x3a) return false;
    ++at;
    if (at < end && load<u8>(at) === 0x3a) {
      if (gapAt !== 17) return false;
      gapAt = bytes;
      ++at;
    } else if (at === end) {
      return false;
    }
  }
  if (gapAt === 17) return bytes === 16;
  if (bytes > 14) return false;
  const tail = bytes - gapAt;
  memory.copy(to + 16 - tail, to + gapAt, tail);
  memory.fill(to + gapAt, 0, 16 - bytes);
  return true;
}

// @ts-expect-error: decorator
@inline
function hexDigit(byte: u32): u32 {
  if (byte - 0x30 <= 9) return byte - 0x30;
  const letter = (byte | 0x20) - 0x61;
  return letter <= 5 ? letter + 10 : 16;
}
