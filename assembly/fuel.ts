import { THREAD_FUEL } from "./layout";

/** Why a flag stops: out of fuel, or something this evaluator cannot serve. */
// @ts-expect-error: decorator
@inline
export const STOP_GENERAL: i32 = -1;
// @ts-expect-error: decorator
@inline
export const STOP_PARSE: i32 = -2;

/** Takes `cost` from the flag being evaluated; false, and nothing taken, when that is more than is left. */
// @ts-expect-error: decorator
@inline
export function spend(thread: usize, cost: u64): bool {
  const left = load<u64>(thread, THREAD_FUEL);
  if (cost > left) return false;
  store<u64>(thread, left - cost, THREAD_FUEL);
  return true;
}
