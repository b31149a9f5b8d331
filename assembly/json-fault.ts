import { THREAD_END, THREAD_ERROR_OFFSET, THREAD_JSON_FAULT, THREAD_REQUEST } from "./layout";

/** Notes where in the JSON request it is malformed (never behind its end) and why; returns 0. */
export function jsonFault(thread: usize, at: usize, fault: usize): u64 {
  const offset = min<usize>(at, load<u32>(thread, THREAD_END)) - load<u32>(thread, THREAD_REQUEST);
  store<u32>(thread, <u32>offset, THREAD_ERROR_OFFSET);
  store<u32>(thread, <u32>fault, THREAD_JSON_FAULT);
  return 0;
}
