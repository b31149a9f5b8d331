import { isAdmitted, startAdmission } from './admission';
import { hasFuel } from './ask';
import { answerBatch } from './batch-request';
import { answerEvaluate } from './evaluate-request';
import { locateInJson, transcodeRequest } from './json-request';
import {
  CALL_OPTION_BATCH,
  CALL_OPTION_JSON_REQUEST,
  JSON_FAULT_NONE,
  LAYOUT_HASH,
  PLACE_EVALUATION,
  ROOT_TOTAL_BYTES,
  STATUS_COSTLY,
  STATUS_LIMIT,
  STATUS_MALFORMED,
  STATUS_OK,
  STATUS_STAMPS_USED,
  THREAD_ANSWER,
  THREAD_BLOCKS,
  THREAD_BODY,
  THREAD_CURSOR,
  THREAD_END,
  THREAD_ERROR_PLACE,
  THREAD_JSON_FAULT,
  THREAD_JSON_MSGPACK,
  THREAD_KEY_STACK,
  THREAD_KEY_TOP,
  THREAD_NOW,
  THREAD_OPTIONS,
  THREAD_REQUEST,
  THREAD_REQUEST_FUEL,
  THREAD_ROOT,
  THREAD_STAMP,
} from './layout';
import { countUsage, startUsage } from './usage';

/**
 * The kernel: evaluates requests in msgpack or JSON on snapshot bytes. It allocates nothing, holds no mutable global and has no managed object;
 * all it writes lies in the THREAD block and the regions it names (thread-layout.ts). Whatever the request bytes, it neither traps
 * nor loops; whatever the snapshot bytes, provided that the verifier accepted them.
 */

/** Of the layout it was built with: the host refuses another one. */
export function layoutHash(): u32 {
  return LAYOUT_HASH;
}

/** First byte after the constant data. */
export function heapBase(): usize {
  return __heap_base;
}

/** A call uses fewer stamps than this. */
const STAMPS_RESERVED: u32 = 0x10000;

/** Evaluates the request of `requestBytes` bytes in the thread's request region against the resident root. Returns the
 *  bytes of the answer, or a STATUS below 0. `costMax` is how much work is admitted, 0 = any. */
export function evaluate(thread: usize, root: usize, requestBytes: u32, options: u32, now: f64, costMax: u32): i32 {
  if (load<u32>(thread, THREAD_STAMP) > 0xffffffff - STAMPS_RESERVED) return -<i32>STATUS_STAMPS_USED;
  const request = <usize>load<u32>(thread, THREAD_REQUEST);
  const isJson = (options & <u32>CALL_OPTION_JSON_REQUEST) !== 0;
  let body = request;
  let end = request + requestBytes;
  store<u32>(thread, <u32>JSON_FAULT_NONE, THREAD_JSON_FAULT);
  if (isJson) {
    end = transcodeRequest(thread, end);
    if (end === 0) return -<i32>STATUS_MALFORMED;
    body = <usize>load<u32>(thread, THREAD_JSON_MSGPACK);
  }
  store<u32>(thread, <u32>body, THREAD_BODY);
  store<u32>(thread, <u32>root, THREAD_ROOT);
  store<u32>(thread, <u32>root + load<u32>(root, ROOT_TOTAL_BYTES), THREAD_BLOCKS);
  store<u32>(thread, <u32>end, THREAD_END);
  store<u32>(thread, options, THREAD_OPTIONS);
  store<u32>(thread, load<u32>(thread, THREAD_KEY_STACK), THREAD_KEY_TOP);
  store<f64>(thread, now, THREAD_NOW);
  store<u64>(thread, 0, THREAD_REQUEST_FUEL);
  startAdmission(thread, costMax);
  startUsage(thread);
  const status =
    options & <u32>CALL_OPTION_BATCH ? answerBatch(thread, body, end) : answerEvaluate(thread, body, end);
  // Nothing is evaluated before the whole body was accepted, so this is the only thing wrong with it.
  if (!isAdmitted(thread)) return -<i32>STATUS_COSTLY;
  if (!hasFuel(thread)) {
    store<u32>(thread, <u32>PLACE_EVALUATION, THREAD_ERROR_PLACE);
    return -<i32>STATUS_LIMIT;
  }
  if (status === STATUS_MALFORMED && isJson) locateInJson(thread, request + requestBytes);
  if (status !== STATUS_OK) return -<i32>status;
  countUsage(thread);
  return <i32>(load<u32>(thread, THREAD_CURSOR) - load<u32>(thread, THREAD_ANSWER));
}
