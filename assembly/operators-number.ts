import { dateTimeMs } from "./date-time";
import { OP_BEFORE, OP_GT, OP_LT, OP_LTE, SLOT_STATE_ADDRESS, SLOT_STATE_LENGTH, SLOT_STATE_NUMBER, SLOT_STATE_TYPE, VALUE_NUMBER, VALUE_STRING } from "./layout";

// @ts-expect-error: decorator
@inline
function isFinite64(value: f64): bool {
  return value - value === 0;
}

/** lt, lte, gt, gte against `count` finite doubles: finite numbers only. */
export function matchesOrder(op: u32, numbers: usize, count: u32, state: usize): bool {
  if (load<u32>(state, SLOT_STATE_TYPE) !== VALUE_NUMBER) return false;
  const seen = load<f64>(state, SLOT_STATE_NUMBER);
  if (!isFinite64(seen)) return false;
  for (; count > 0; --count) {
    const value = load<f64>(numbers);
    const holds = op === OP_LT ? seen < value : op === OP_LTE ? seen <= value : op === OP_GT ? seen > value : seen >= value;
    if (holds) return true;
    numbers += 8;
  }
  return false;
}

/** before, after against `count` instants: an RFC 3339 string with zone, or epoch ms. */
export function matchesInstant(op: u32, instants: usize, count: u32, state: usize): bool {
  const type = load<u32>(state, SLOT_STATE_TYPE);
  let seen = NaN;
  if (type === VALUE_NUMBER) seen = load<f64>(state, SLOT_STATE_NUMBER);
  else if (type === VALUE_STRING) seen = dateTimeMs(<usize>load<u32>(state, SLOT_STATE_ADDRESS), load<u32>(state, SLOT_STATE_LENGTH));
  if (!isFinite64(seen)) return false;
  for (; count > 0; --count) {
    const value = load<f64>(instants);
    if (op === OP_BEFORE ? seen < value : seen > value) return true;
    instants += 8;
  }
  return false;
}
