import type { HttpRequest } from 'uWebSockets.js';
import type { ErrorCode } from '@guidon/protocol';

export const HEADER_LIMITS = { headerBytes: 8 * 1024, headerCount: 64, urlBytes: 2 * 1024 } as const;

/** Why a request is refused before any handler sees it. `close`: its framing is not to be trusted, so nothing more is read. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly close: boolean;
}

const refusal = (code: ErrorCode, detail: string, close = false): Refusal => ({ code, detail, close });
export const REFUSALS = {
  transferEncoding: refusal('malformed-request', 'Transfer-Encoding is not accepted here.', true),
  duplicate: refusal('malformed-request', 'A header that may appear once appears twice.', true),
  contentLength: refusal('malformed-request', 'Content-Length is not a number.', true),
  controlByte: refusal('malformed-request', 'The request holds a control character.', true),
  twoCredentials: refusal('malformed-request', 'Send Authorization or X-API-Key, not both.'),
  headers: refusal('headers-too-large', 'At most 64 headers and 8 KiB of them are accepted.', true),
  url: refusal('uri-too-long', 'The URL is longer than 2 KiB.', true),
  percent: refusal('malformed-request', 'The URL holds an invalid percent-encoding.'),
  credentialInUrl: refusal('credential-in-url', 'Send the credential in a header; one in a URL ends up in logs.'),
  unknownParameter: refusal('unknown-parameter', 'This endpoint does not take such a query parameter.'),
  twiceParameter: refusal('malformed-request', 'A query parameter appears twice.'),
  fatGet: refusal('malformed-request', 'This request takes no body.', true),
} as const;

// One bit per header that decides framing, routing or identity. A second one is refused: two parties that read different ones can
// be played against each other (M13).
const SEEN_HOST = 1;
const SEEN_ACCEPT = 2;
const SEEN_ORIGIN = 4;
const SEEN_CONTENT_TYPE = 8;
const SEEN_CONTENT_LENGTH = 16;
const SEEN_AUTHORIZATION = 32;
const SEEN_API_KEY = 64;
const SEEN_CONTENT_ENCODING = 128;

/**
 * The headers of the request at hand, read in one pass of `req.forEach` (M13: the parser below lets duplicates and odd encodings
 * through). One object per server, overwritten by each request: valid only until the handler returns, copy what must live longer.
 * It is the dearest part of the hot path after the parser, so it allocates nothing; bench `http evaluate/msgpack`.
 */
export class RequestHead {
  contentType = '';
  contentEncoding = '';
  accept = '';
  origin = '';
  authorization = '';
  apiKey = '';
  /** -1 when absent. */
  contentLength = -1;
  #seen = 0;
  #bytes = 0;
  #count = 0;
  #refusal: Refusal | undefined;
  readonly #take = (name: string, value: string): void => {
    this.#count += 1;
    this.#bytes += name.length + value.length + 4;
    switch (name.length) {
      case 4:
        if (name === 'host') this.#once(SEEN_HOST);
        return;
      case 6:
        if (name === 'accept') {
          this.#once(SEEN_ACCEPT);
          this.accept = value;
        } else if (name === 'origin') {
          this.#once(SEEN_ORIGIN);
          this.origin = value;
        }
        return;
      case 9:
        if (name === 'x-api-key') {
          this.#once(SEEN_API_KEY);
          this.apiKey = value;
        }
        return;
      case 12:
        if (name === 'content-type') {
          this.#once(SEEN_CONTENT_TYPE);
          this.contentType = value;
        }
        return;
      case 13:
        if (name === 'authorization') {
          this.#once(SEEN_AUTHORIZATION);
          this.authorization = value;
        }
        return;
      case 14:
        if (name === 'content-length') {
          this.#once(SEEN_CONTENT_LENGTH);
          this.contentLength = this.#lengthOf(value);
        }
        return;
      case 16:
        if (name === 'content-encoding') {
          this.#once(SEEN_CONTENT_ENCODING);
          this.contentEncoding = value;
        }
        return;
      case 17:
        if (name === 'transfer-encoding') this.#refusal = REFUSALS.transferEncoding;
        return;
      default:
    }
  };

  /** Reads all headers of `req`; undefined when they can be trusted. */
  read(req: HttpRequest): Refusal | undefined {
    this.contentType = '';
    this.contentEncoding = '';
    this.accept = '';
    this.origin = '';
    this.authorization = '';
    this.apiKey = '';
    this.contentLength = -1;
    this.#seen = 0;
    this.#bytes = 0;
    this.#count = 0;
    this.#refusal = undefined;
    req.forEach(this.#take);
    if (this.#refusal !== undefined) return this.#refusal;
    if (this.#bytes > HEADER_LIMITS.headerBytes || this.#count > HEADER_LIMITS.headerCount) return REFUSALS.headers;
    return this.authorization !== '' && this.apiKey !== '' ? REFUSALS.twoCredentials : undefined;
  }

  #once(bit: number): void {
    if ((this.#seen & bit) !== 0) this.#refusal ??= REFUSALS.duplicate;
    this.#seen |= bit;
  }

  #lengthOf(value: string): number {
    let length = 0;
    for (let index = 0; index < value.length; index += 1) {
      const digit = value.charCodeAt(index) - 48;
      if (digit < 0 || digit > 9 || index > 14) {
        this.#refusal = REFUSALS.contentLength;
        return -1;
      }
      length = length * 10 + digit;
    }
    if (value.length === 0) this.#refusal = REFUSALS.contentLength;
    return length;
  }
}

const CREDENTIAL_PARAMETER = /(^|&)(api[-_]?key|key|token|access[-_]?token|authorization|credential)=|gdn_/i;

/** What the query of an endpoint may hold. */
export interface KnownQuery {
  readonly parameters: readonly string[];
  /** Of path and query together. */
  readonly urlBytes: number;
}

const NO_QUERY: KnownQuery = { parameters: [], urlBytes: HEADER_LIMITS.urlBytes };

/** Checks path and query: known parameters only, each once. The URL is never logged. */
export function refuseUrl(url: string, query: string, known: KnownQuery = NO_QUERY): Refusal | undefined {
  if (url.length + query.length > known.urlBytes) return REFUSALS.url;
  if (hasControlCharacter(url) || hasControlCharacter(query)) return REFUSALS.controlByte;
  if (/%(?![0-9A-Fa-f]{2})/.test(url) || /%(?![0-9A-Fa-f]{2})/.test(query)) return REFUSALS.percent;
  if (query === '') return undefined;
  if (CREDENTIAL_PARAMETER.test(query)) return REFUSALS.credentialInUrl;
  const names = [...new URLSearchParams(query).keys()];
  if (names.some((name) => !known.parameters.includes(name))) return REFUSALS.unknownParameter;
  return new Set(names).size === names.length ? undefined : REFUSALS.twiceParameter;
}

function hasControlCharacter(text: string): boolean {
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code < 0x20 || code === 0x7f) return true;
  }
  return false;
}
