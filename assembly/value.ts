import {
  SLOT_STATE_ADDRESS,
  SLOT_STATE_LENGTH,
  SLOT_STATE_NUMBER,
  SLOT_STATE_TYPE,
  VALUE_ARRAY,
  VALUE_BOOLEAN,
  VALUE_MISSING,
  VALUE_NUMBER,
  VALUE_OBJECT,
  VALUE_STRING,
} from "./layout";

/** Values of the request, read from msgpack that msgpack-scan.ts has accepted: no bounds are checked here. */

// @ts-expect-error: decorator
@inline
function setNumber(state: usize, value: f64): void {
  store<u32>(state, <u32>VALUE_NUMBER, SLOT_STATE_TYPE);
  store<f64>(state, value, SLOT_STATE_NUMBER);
}

// @ts-expect-error: decorator
@inline
function setBoolean(state: usize, value: u32): void {
  store<u32>(state, <u32>VALUE_BOOLEAN, SLOT_STATE_TYPE);
  store<u32>(state, value, SLOT_STATE_LENGTH);
}

// @ts-expect-error: decorator
@inline
export function setSpan(state: usize, type: usize, address: usize, length: usize): void {
  store<u32>(state, <u32>type, SLOT_STATE_TYPE);
  store<u64>(state, <u64>address | (<u64>length << 32), SLOT_STATE_ADDRESS);
}

/** Puts the value at `at` into a SLOT_STATE. Wider integers are rounded to the nearest double; null counts as missing. */
export function decodeValue(state: usize, at: usize): void {
  const first = <u32>load<u8>(at);
  if (first < 0x80) return setNumber(state, <f64>first);
  if (first >= 0xe0) return setNumber(state, <f64>(<i8>first));
  if (first < 0x90) return setSpan(state, VALUE_OBJECT, at + 1, first & 0x0f);
  if (first < 0xa0) return setSpan(state, VALUE_ARRAY, at + 1, first & 0x0f);
  if (first < 0xc0) return setSpan(state, VALUE_STRING, at + 1, first & 0x1f);
  switch (first) {
    case 0xc2:
      return setBoolean(state, 0);
    case 0xc3:
      return setBoolean(state, 1);
    case 0xca:
      return setNumber(state, <f64>reinterpret<f32>(bswap<u32>(load<u32>(at, 1))));
    case 0xcb:
      return setNumber(state, reinterpret<f64>(bswap<u64>(load<u64>(at, 1))));
    case 0xcc:
      return setNumber(state, <f64>load<u8>(at, 1));
    case 0xcd:
      return setNumber(state, <f64>bswap<u16>(load<u16>(at, 1)));
    case 0xce:
      return setNumber(state, <f64>bswap<u32>(load<u32>(at, 1)));
    case 0xcf:
      return setNumber(state, <f64>bswap<u64>(load<u64>(at, 1)));
    case 0xd0:
      return setNumber(state, <f64>load<i8>(at, 1));
    case 0xd1:
      return setNumber(state, <f64>(<i16>bswap<u16>(load<u16>(at, 1))));
    case 0xd2:
      return setNumber(state, <f64>(<i32>bswap<u32>(load<u32>(at, 1))));
    case 0xd3:
      return setNumber(state, <f64>(<i64>bswap<u64>(load<u64>(at, 1))));
    case 0xd6:
    case 0xd7:
    case 0xc7:
      return setNumber(state, timestampMs(at, first));
    case 0xd9:
      return setSpan(state, VALUE_STRING, at + 2, load<u8>(at, 1));
    case 0xda:
      return setSpan(state, VALUE_STRING, at + 3, bswap<u16>(load<u16>(at, 1)));
    case 0xdb:
      return setSpan(state, VALUE_STRING, at + 5, bswap<u32>(load<u32>(at, 1)));
    case 0xdc:
      return setSpan(state, VALUE_ARRAY, at + 3, bswap<u16>(load<u16>(at, 1)));
    case 0xdd:
      return setSpan(state, VALUE_ARRAY, at + 5, bswap<u32>(load<u32>(at, 1)));
    case 0xde:
      return setSpan(state, VALUE_OBJECT, at + 3, bswap<u16>(load<u16>(at, 1)));
    case 0xdf:
      return setSpan(state, VALUE_OBJECT, at + 5, bswap<u32>(load<u32>(at, 1)));
    default:
      store<u32>(state, <u32>VALUE_MISSING, SLOT_STATE_TYPE);
  }
}

/** Epoch ms of a timestamp extension; the nanoseconds are cut to whole milliseconds. */
function timestampMs(at: usize, first: u32): f64 {
  if (first === 0xd6) return <f64>bswap<u32>(load<u32>(at, 2)) * 1000;
  if (first === 0xd7) {
    const packed = bswap<u64>(load<u64>(at, 2));
    return <f64>(packed & 0x3ffffffff) * 1000 + <f64>((packed >> 34) / 1_000_000);
  }
  return <f64>(<i64>bswap<u64>(load<u64>(at, 7))) * 1000 + <f64>(bswap<u32>(load<u32>(at, 3)) / 1_000_000);
}

/** Address after the value at `at`, however deep it is. */
export function skipValue(at: usize): usize {
  let open: usize = 1;
  while (open > 0) {
    --open;
    const first = <u32>load<u8>(at);
    if (first < 0x80 || first >= 0xe0) {
      at += 1;
    } else if (first < 0x90) {
      at += 1;
      open += (first & 0x0f) << 1;
    } else if (first < 0xa0) {
      at += 1;
      open += first & 0x0f;
    } else if (first < 0xc0) {
      at += 1 + (first & 0x1f);
    } else {
      switch (first) {
        case 0xcc:
        case 0xd0:
          at += 2;
          break;
        case 0xcd:
        case 0xd1:
          at += 3;
          break;
        case 0xca:
        case 0xce:
        case 0xd2:
          at += 5;
          break;
        case 0xcb:
        case 0xcf:
        case 0xd3:
          at += 9;
          break;
        case 0xd6:
          at += 6;
          break;
        case 0xd7:
          at += 10;
          break;
        case 0xc7:
          at += 15;
          break;
        case 0xd9:
          at += 2 + <usize>load<u8>(at, 1);
          break;
        case 0xda:
          at += 3 + <usize>bswap<u16>(load<u16>(at, 1));
          break;
        case 0xdb:
          at += 5 + <usize>bswap<u32>(load<u32>(at, 1));
          break;
        case 0xdc:
          open += bswap<u16>(load<u16>(at, 1));
          at += 3;
          break;
        case 0xdd:
          open += bswap<u32>(load<u32>(at, 1));
          at += 5;
          break;
        case 0xde:
          open += <usize>bswap<u16>(load<u16>(at, 1)) << 1;
          at += 3;
          break;
        case 0xdf:
          open += <usize>bswap<u32>(load<u32>(at, 1)) << 1;
          at += 5;
          break;
        default:
          at += 1;
      }
    }
  }
  return at;
}
