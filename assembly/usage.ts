import { flagEntry } from "./flag";
import {
  ERROR_NONE,
  FLAG_ENTRY_COUNTER,
  MEMO_ERROR,
  MEMO_VARIATION,
  NONE,
  THREAD_ROOT,
  THREAD_USAGE,
  THREAD_USAGE_COUNT,
  THREAD_USAGE_LOG,
  USAGE_ERROR_COUNT,
} from "./layout";

/** Which result was given how often. Logged per result, counted per call: a call that fails or is asked again leaves nothing behind. */

// @ts-expect-error: decorator
@inline
export function startUsage(thread: usize): void {
  store<u32>(thread, 0, THREAD_USAGE_COUNT);
}

// @ts-expect-error: decorator
@inline
function log(thread: usize, counter: u32): void {
  const count = load<u32>(thread, THREAD_USAGE_COUNT);
  // A call has at most EVALUATIONS_MAX results, and the log as many places.
  store<u32>(<usize>load<u32>(thread, THREAD_USAGE_LOG) + (<usize>count << 2), counter);
  store<u32>(thread, count + 1, THREAD_USAGE_COUNT);
}

// @ts-expect-error: decorator
@inline
function firstCounter(thread: usize, flag: u32): u32 {
  return flag === NONE ? 0 : load<u32>(flagEntry(<usize>load<u32>(thread, THREAD_ROOT), flag), FLAG_ENTRY_COUNTER);
}

/** `flag` NONE: it is not there, or was not looked up. */
// @ts-expect-error: decorator
@inline
export function logError(thread: usize, flag: u32, error: u32): void {
  log(thread, firstCounter(thread, flag) + error - 1);
}

// @ts-expect-error: decorator
@inline
export function logResult(thread: usize, flag: u32, memo: usize): void {
  const error = <u32>load<u8>(memo, MEMO_ERROR);
  if (error !== <u32>ERROR_NONE) logError(thread, flag, error);
  else log(thread, firstCounter(thread, flag) + <u32>USAGE_ERROR_COUNT + <u32>load<u8>(memo, MEMO_VARIATION));
}

/** The call has succeeded. */
// @ts-expect-error: decorator
@inline
export function countUsage(thread: usize): void {
  const usage = <usize>load<u32>(thread, THREAD_USAGE);
  if (usage === 0) return;
  const first = <usize>load<u32>(thread, THREAD_USAGE_LOG);
  const end = first + (<usize>load<u32>(thread, THREAD_USAGE_COUNT) << 2);
  for (let at = first; at < end; at += 4) {
    const counter = usage + (<usize>load<u32>(at) << 2);
    store<u32>(counter, load<u32>(counter) + 1);
  }
}
