import { murmur3After } from "./bytes";
import { spend } from "./fuel";
import {
  ROLLOUT_BIT_LAYER,
  ROLLOUT_BITS,
  ROLLOUT_LAYER_FROM,
  ROLLOUT_LAYER_SALT,
  ROLLOUT_LAYER_TO,
  ROLLOUT_SALT,
  ROLLOUT_SLOT,
  ROLLOUT_WEIGHTS,
  SLOT_STATE_ADDRESS,
  SLOT_STATE_LENGTH,
  SLOT_STATE_NUMBER,
  SLOT_STATE_TYPE,
  THREAD_DECIMALS,
  VALUE_NUMBER,
  VALUE_STRING,
  WEIGHT_BYTES,
  WEIGHT_UP_TO,
  WEIGHT_VARIATION,
} from "./layout";
import { slotState } from "./slot";

/** Why a rollout gives no variation. */
// @ts-expect-error: decorator
@inline
export const ROLLOUT_MISSING: i32 = -1;
// @ts-expect-error: decorator
@inline
export const ROLLOUT_OUTSIDE: i32 = -2;
/** The flag has not enough fuel to hash the value. */
// @ts-expect-error: decorator
@inline
export const ROLLOUT_STOP: i32 = -3;

/** Integers beyond this are not exact in a double and count as missing. */
const INTEGER_MAX: f64 = 9007199254740991;

/** Variation index, or why there is none. A missing value is decided before the layer. */
// @ts-expect-error: decorator
@inline
export function decideRollout(thread: usize, refs: usize, rollout: usize): i32 {
  const value = bucketedValue(thread, refs, rollout);
  if (value === 0) return ROLLOUT_MISSING;
  const address = <usize>(value >> 32);
  const length = <usize>(value & 0x7fffffff);
  if (load<u32>(rollout, ROLLOUT_BITS) & <u32>ROLLOUT_BIT_LAYER) {
    if (!spend(thread, hashCost(length))) return ROLLOUT_STOP;
    const layerBucket = bucketOf(rollout + ROLLOUT_LAYER_SALT, address, length);
    if (layerBucket < load<u32>(rollout, ROLLOUT_LAYER_FROM) || layerBucket >= load<u32>(rollout, ROLLOUT_LAYER_TO)) {
      return ROLLOUT_OUTSIDE;
    }
  }
  if (!spend(thread, hashCost(length))) return ROLLOUT_STOP;
  const bucket = bucketOf(rollout + ROLLOUT_SALT, address, length);
  let weight = rollout + ROLLOUT_WEIGHTS;
  // The verifier saw that the last sum is the total, which no bucket reaches.
  while (bucket >= load<u32>(weight, WEIGHT_UP_TO)) weight += WEIGHT_BYTES;
  return load<u32>(weight, WEIGHT_VARIATION);
}

/** Does the rollout of a segment's rule let the context in? 1 or 0, a missing value does not; ROLLOUT_STOP. */
export function isInRollout(thread: usize, refs: usize, rollout: usize): i32 {
  const value = bucketedValue(thread, refs, rollout);
  if (value === 0) return 0;
  const length = <usize>(value & 0x7fffffff);
  if (!spend(thread, hashCost(length))) return ROLLOUT_STOP;
  const bucket = bucketOf(rollout + ROLLOUT_SALT, <usize>(value >> 32), length);
  return <i32>(bucket < load<u32>(rollout + ROLLOUT_WEIGHTS, WEIGHT_UP_TO));
}

// @ts-expect-error: decorator
@inline
function hashCost(byteCount: usize): u64 {
  return 1 + <u64>(byteCount >> 6);
}

/** 0 … 99 999, integer-exact (I21). */
// @ts-expect-error: decorator
@inline
function bucketOf(prefix: usize, address: usize, length: usize): u32 {
  return <u32>((<u64>murmur3After(prefix, address, length) * 100_000) >> 32);
}

/** What is hashed, as address and length (the length's top bit set, so that "" is not 0): a string as it is, an integer in decimals. */
// @ts-expect-error: decorator
@inline
function bucketedValue(thread: usize, refs: usize, rollout: usize): u64 {
  const state = slotState(thread, load<u32>(refs + (<usize>load<u32>(rollout, ROLLOUT_SLOT) << 2)));
  const type = load<u16>(state, SLOT_STATE_TYPE);
  if (type === VALUE_STRING) {
    return (<u64>load<u32>(state, SLOT_STATE_ADDRESS) << 32) | 0x80000000 | <u64>load<u32>(state, SLOT_STATE_LENGTH);
  }
  if (type !== VALUE_NUMBER) return 0;
  const number = load<f64>(state, SLOT_STATE_NUMBER);
  if (!(abs(number) <= INTEGER_MAX) || trunc(number) !== number) return 0;
  return writeDecimals(thread + THREAD_DECIMALS, <i64>number);
}

/** At most 17 characters; -0 has become 0. */
function writeDecimals(to: usize, number: i64): u64 {
  let rest = <u64>(number < 0 ? -number : number);
  const end = to + 24;
  let at = end;
  do {
    --at;
    store<u8>(at, 0x30 + (rest % 10));
    rest /= 10;
  } while (rest !== 0);
  if (number < 0) {
    --at;
    store<u8>(at, 0x2d);
  }
  return (<u64>at << 32) | 0x80000000 | <u64>(end - at);
}
