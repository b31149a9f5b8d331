import { dateTimeMs } from "./date-time";
import { SLOT_STATE_ADDRESS, SLOT_STATE_LENGTH, SLOT_STATE_NUMBER, SLOT_STATE_TYPE, VALUE_NUMBER, VALUE_STRING } from "./layout";

// @ts-expect-error: decorator
@inline
export function isFinite64(value: f64): bool {
  return value - value === 0;
}

/** Is the way in which `seen` compares with `value` one of `outcomes` (OUTCOME)? */
// @ts-expect-error: decorator
@inline
export function holdsOutcome<T>(outcomes: u32, seen: T, value: T): bool {
  return ((outcomes >> (<u32>(seen >= value) + <u32>(seen > value))) & 1) !== 0;
}

/** lt, lte, gt, gte against `count` finite doubles: finite numbers only. */
export function matchesOrder(outcomes: u32, numbers: usize, count: u32, state: usize): bool {
  if (load<u16>(state, SLOT_STATE_TYPE) !== VALUE_NUMBER) return false;
  return compareWithAll(outcomes, numbers, count, load<f64>(state, SLOT_STATE_NUMBER));
}

/** before, after against `count` instants: an RFC 3339 string with zone, or epoch ms. */
export function matchesInstant(outcomes: u32, instants: usize, count: u32, state: usize): bool {
  const type = load<u16>(state, SLOT_STATE_TYPE);
  let seen = NaN;
  if (type === VALUE_NUMBER) seen = load<f64>(state, SLOT_STATE_NUMBER);
  else if (type === VALUE_STRING) seen = dateTimeMs(<usize>load<u32>(state, SLOT_STATE_ADDRESS), load<u32>(state, SLOT_STATE_LENGTH));
  return compareWithAll(outcomes, instants, count, seen);
}

function compareWithAll(outcomes: u32, values: usize, count: u32, seen: f64): bool {
  if (!isFinite64(seen)) return false;
  for (; count > 0; --count) {
    if (holdsOutcome<f64>(outcomes, seen, load<f64>(values))) return true;
    values += 8;
  }
  return false;
}
