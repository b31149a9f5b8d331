import type { IncomingHttpHeaders } from 'node:http';
import { type Agent, request } from 'undici';
import { BlockedAddressError } from './guarded-agent.js';
import { parseRetryAfter } from './retry-schedule.js';

/** From the name's resolution to the last byte of the answer that is read. */
export const ATTEMPT_MS_MAX = 15_000;
/** Of an answer; a longer one counts by its status, the rest is not read. */
export const RESPONSE_BYTES_MAX = 64 * 1024;

export interface OutgoingRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What came of one attempt. A status outside of 200 to 299 is a failure, redirects included: nothing is followed. */
export type AttemptOutcome =
  | 'delivered'
  | 'refused-by-receiver'
  | 'gone'
  | 'redirected'
  | 'blocked-address'
  | 'timed-out'
  | 'connection-failed'
  | 'secret-unreadable';

export interface AttemptResult {
  readonly outcome: AttemptOutcome;
  /** Milliseconds, from the start to the end of what was read. */
  readonly latencyMs: number;
  readonly status?: number;
  readonly headers?: IncomingHttpHeaders;
  /** As far as it was read. */
  readonly body?: Buffer;
  /** What the receiver asked for by Retry-After. */
  readonly retryAfterMs?: number | undefined;
  /** For people, when there is no status. */
  readonly detail?: string;
}

/** Makes one attempt. Never rejects, and is over within `deadlineMs`. */
export async function sendRequest(
  agent: Agent,
  { method, url, headers, body }: OutgoingRequest,
  { deadlineMs = ATTEMPT_MS_MAX, now = Date.now, signal }: SendOptions = {},
): Promise<AttemptResult> {
  const startedMs = performance.now();
  const latency = (): number => Math.round((performance.now() - startedMs) * 10) / 10;
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), deadlineMs);
  const onClose = (): void => abort.abort();
  signal?.addEventListener('abort', onClose);
  try {
    const answer = await request(url, {
      dispatcher: agent,
      method: method as 'POST',
      headers,
      body,
      signal: abort.signal,
      headersTimeout: deadlineMs,
      bodyTimeout: deadlineMs,
    });
    const read = await readBounded(answer.body);
    return {
      outcome: outcomeOf(answer.statusCode),
      latencyMs: latency(),
      status: answer.statusCode,
      headers: answer.headers,
      body: read,
      retryAfterMs: parseRetryAfter(singleHeader(answer.headers['retry-after']), now()),
    };
  } catch (error) {
    const outcome = abort.signal.aborted ? 'timed-out' : failureOf(error);
    return { outcome, latencyMs: latency(), detail: detailOf(outcome, error) };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onClose);
  }
}

interface SendOptions {
  readonly deadlineMs?: number;
  readonly now?: () => number;
  /** Ends the attempt, as its deadline would. */
  readonly signal?: AbortSignal;
}

function outcomeOf(status: number): AttemptOutcome {
  if (status >= 200 && status < 300) return 'delivered';
  if (status >= 300 && status < 400) return 'redirected';
  return status === 410 ? 'gone' : 'refused-by-receiver';
}

/** Codes of undici that mean that time ran out in one of its own stages. */
const TIME_CODES = new Set(['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'ETIMEDOUT']);

function failureOf(error: unknown): AttemptOutcome {
  if (error instanceof BlockedAddressError) return 'blocked-address';
  return TIME_CODES.has(codeOf(error)) ? 'timed-out' : 'connection-failed';
}

/** The code alone: messages of sockets name addresses that the tenant has no business to know. */
function detailOf(outcome: AttemptOutcome, error: unknown): string {
  if (outcome === 'blocked-address') return 'the address is not public';
  return outcome === 'timed-out' ? 'no whole answer in time' : codeOf(error) || 'the connection failed';
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** Leaving the loop destroys the body and with it the connection: an endless answer costs RESPONSE_BYTES_MAX. */
async function readBounded(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= RESPONSE_BYTES_MAX) break;
  }
  return Buffer.concat(chunks).subarray(0, RESPONSE_BYTES_MAX);
}

function singleHeader(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
