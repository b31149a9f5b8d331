import { Agent as HttpAgent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { type EnvironmentRef, LIMITS, PlatformError } from '@guidon/protocol';
import { decodeConfigMessage, decodeSigned } from '@guidon/protocol/msgpack';
import {
  type ConfigMessage,
  type EnvironmentState,
  parseEnvironmentState,
  type Signed,
} from '@guidon/protocol/signed-config';
import type { EventSink } from '../events/event-shipper.js';
import type { ConfigSource, NodeStatus } from './config-source.js';

export interface HttpConfigSourceOptions {
  readonly url: string;
  readonly nodeCredential: string;
  /** Named in each poll, in a header: control planes of before refuse parameters that they do not know. */
  readonly nodeId?: string;
  /** The control plane does not know this node: it has been restarted, perhaps. */
  readonly onUnknown?: () => void;
  /** PEM certificates that the control plane's must lead back to; default: the ones Node trusts. */
  readonly ca?: string | undefined;
  /** This node takes each revision before the others: said with every request. */
  readonly isCanary?: boolean;
  /** Default true; false: `url` is that of another node. */
  readonly isControlPlane?: boolean;
  /** Of an answer, and of silence before and within a configuration: a connection may be half-open. */
  readonly deadlineMs?: number;
  /** Of a whole configuration: slower lines may take longer. */
  readonly configDeadlineMs?: number;
}

const DEADLINE_MS = 4_000;
const CONFIG_DEADLINE_MS = 60_000;
/** Longer than a node lets somebody wait for a change. */
const CHANGE_DEADLINE_MS = 10_000;
const SMALL_ANSWER_BYTES_MAX = 8 * 1024 * 1024;
/** Definitions are larger than what is compiled of them. */
const CONFIG_BYTES_MAX = 2 * LIMITS.snapshotBytes;

/** The internal API of a control plane, or of a node that answers the same, asked with a `node` credential. */
export class HttpConfigSource implements ConfigSource, EventSink {
  readonly isControlPlane: boolean;
  readonly #base: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #deadlineMs: number;
  readonly #configDeadlineMs: number;
  /** A source that takes longer than this over its first byte is given twice the time, until it has answered: it may just be slow. */
  #silenceMs: number;
  readonly #agent: HttpAgent;
  readonly #nodeHeader: Readonly<Record<string, string>>;
  readonly #onUnknown: (() => void) | undefined;
  readonly #closing = new AbortController();

  constructor(options: HttpConfigSourceOptions) {
    this.isControlPlane = options.isControlPlane ?? true;
    this.#base = options.url.replace(/\/+$/, '');
    const canary = options.isCanary === true ? { 'x-guidon-canary': '1' } : {};
    this.#headers = { authorization: `Bearer ${options.nodeCredential}`, ...canary };
    this.#onUnknown = options.onUnknown;
    this.#nodeHeader = options.nodeId === undefined ? {} : { 'x-guidon-node': options.nodeId };
    this.#deadlineMs = options.deadlineMs ?? DEADLINE_MS;
    this.#configDeadlineMs = options.configDeadlineMs ?? CONFIG_DEADLINE_MS;
    this.#silenceMs = this.#deadlineMs;
    const ca = options.ca === undefined ? {} : { ca: options.ca };
    this.#agent = this.#base.startsWith('https:')
      ? new HttpsAgent({ keepAlive: true, ...ca })
      : new HttpAgent({ keepAlive: true });
  }

  /** Gives up whatever is under way. */
  close(): void {
    this.#closing.abort();
    this.#agent.destroy();
  }

  async fetchKeySet(): Promise<{ rootPublicKey: string; keySet: Signed }> {
    const { signed, extra } = decodeSigned(await this.#bytes('/internal/v1/key-set'));
    const rootPublicKey = extra.get('rootPublicKey');
    if (typeof rootPublicKey !== 'string' || !/^[A-Za-z0-9_-]{43}$/.test(rootPublicKey)) {
      throw new PlatformError('malformed-body', 'the key set comes without its root key');
    }
    return { rootPublicKey, keySet: signed };
  }

  async fetchDigests(root: string): Promise<{ root: string; buckets: readonly string[] } | undefined> {
    const headers = { ...this.#nodeHeader, 'if-none-match': `"${root}"` };
    const answer = await this.#get('/internal/v1/digests', this.#deadlineMs, headers);
    if (answer.headers['x-guidon-node'] === 'unknown') this.#onUnknown?.();
    if (answer.statusCode === 304) {
      answer.resume();
      return undefined;
    }
    const value = parseJson(await readBytes(answer, SMALL_ANSWER_BYTES_MAX));
    const { buckets } = value;
    if (typeof value.root !== 'string' || !Array.isArray(buckets) || buckets.length !== 256) {
      throw new PlatformError('malformed-body', 'the digest answer is malformed');
    }
    return { root: value.root, buckets: buckets.map(String) };
  }

  /** Of a node: the root of its digests, when it is another one than `root` or some seconds have passed. */
  async awaitChange(root: string): Promise<string> {
    const answer = await this.#get(`/internal/v1/changes?after=${encodeURIComponent(root)}`, CHANGE_DEADLINE_MS);
    const value = parseJson(await readBytes(answer, SMALL_ANSWER_BYTES_MAX));
    if (typeof value.root !== 'string' || !/^[0-9a-f]{32,64}$/.test(value.root)) {
      throw new PlatformError('malformed-body', 'the answer about changes is malformed');
    }
    return value.root;
  }

  async fetchBuckets(buckets: readonly number[]): Promise<readonly EnvironmentState[]> {
    const list = buckets.map((bucket) => bucket.toString(16).padStart(2, '0')).join(',');
    const answer = await this.#get(`/internal/v1/digests?buckets=${list}`, this.#deadlineMs);
    const { environments } = parseJson(await readBytes(answer, SMALL_ANSWER_BYTES_MAX));
    if (!Array.isArray(environments)) throw new PlatformError('malformed-body', 'the bucket answer is malformed');
    return environments.map(parseEnvironmentState);
  }

  async fetchConfig({ environmentId }: EnvironmentRef, since: number): Promise<ConfigMessage> {
    const query = since === 0 ? '' : `?since=${since}`;
    const path = `/internal/v1/environments/${environmentId}/config${query}`;
    const answer = await this.#get(path, this.#configDeadlineMs, {}, this.#silenceMs);
    const bytes = await readBytes(answer, CONFIG_BYTES_MAX);
    this.#silenceMs = this.#deadlineMs;
    return decodeConfigMessage(bytes);
  }

  async fetchAccess({ environmentId }: EnvironmentRef): Promise<Signed> {
    return decodeSigned(await this.#bytes(`/internal/v1/environments/${environmentId}/access`)).signed;
  }

  async fetchTreeHeads(cursor: string): Promise<{ heads: Uint8Array[]; cursor: string; hasMore: boolean }> {
    const path = `/internal/v1/tree-heads?cursor=${encodeURIComponent(cursor)}`;
    const value = parseJson(await this.#bytes(path));
    if (!Array.isArray(value.heads) || typeof value.cursor !== 'string') {
      throw new PlatformError('malformed-body', 'the answer with tree heads is malformed');
    }
    const heads = value.heads.map((head) => Buffer.from(String(head), 'base64'));
    return { heads, cursor: value.cursor, hasMore: value.hasMore === true };
  }

  async fetchConsistencyProof(owner: string, first: number, second: number): Promise<Uint8Array[] | undefined> {
    const path = `/internal/v1/consistency-proof?owner=${encodeURIComponent(owner)}&first=${first}&second=${second}`;
    const answer = await this.#fetch(path, this.#deadlineMs, { headers: this.#headers });
    const { statusCode = 0 } = answer;
    if (statusCode !== 200) answer.resume();
    if (statusCode === 422) return undefined;
    if (statusCode !== 200) throw refusalOf(statusCode, '/internal/v1/consistency-proof');
    const { hashes } = parseJson(await readBytes(answer, SMALL_ANSWER_BYTES_MAX));
    if (!Array.isArray(hashes)) throw new PlatformError('malformed-body', 'the answer with a proof is malformed');
    return hashes.map((hash) => Buffer.from(String(hash), 'hex'));
  }

  async postStatus(status: NodeStatus): Promise<boolean> {
    const answer = await this.#fetch(`/internal/v1/nodes/${status.nodeId}/status`, this.#deadlineMs, {
      method: 'POST',
      headers: { ...this.#headers, 'content-type': 'application/json' },
      body: JSON.stringify(status),
    });
    answer.resume();
    const { statusCode = 0 } = answer;
    if (statusCode === 409) return false;
    if (statusCode < 200 || statusCode > 299) throw refusalOf(statusCode, 'the status');
    return true;
  }

  async postEvents(lines: string): Promise<void> {
    const path = '/internal/v1/events';
    const answer = await this.#fetch(path, this.#deadlineMs, {
      method: 'POST',
      headers: { ...this.#headers, 'content-type': 'application/x-ndjson' },
      body: lines,
    });
    answer.resume();
    const { statusCode = 0 } = answer;
    if (statusCode >= 200 && statusCode <= 299) return;
    const isHopeless = statusCode === 400 || statusCode === 413 || statusCode === 422;
    if (isHopeless) throw new PlatformError('validation-failed', `the source answered ${statusCode} to events`);
    throw refusalOf(statusCode, path);
  }

  async #bytes(path: string): Promise<Uint8Array> {
    return readBytes(await this.#get(path, this.#deadlineMs), SMALL_ANSWER_BYTES_MAX);
  }

  async #get(
    path: string,
    deadlineMs: number,
    headers: Record<string, string> = {},
    silenceMs = deadlineMs,
  ): Promise<IncomingMessage> {
    const answer = await this.#fetch(path, deadlineMs, {
      headers: { ...this.#headers, ...headers },
      timeout: silenceMs,
    });
    const { statusCode = 0 } = answer;
    if (statusCode === 200 || statusCode === 304) return answer;
    answer.resume();
    throw refusalOf(statusCode, path.replace(/\?.*/, ''));
  }

  /**
   * Resolves with the head of the answer; its body must be read or resumed. Redirections are answers like any other: they are not followed. `timeout` is
   * that of silence.
   */
  #fetch(
    path: string,
    deadlineMs: number,
    { body, ...options }: Pick<RequestOptions, 'method' | 'headers' | 'timeout'> & { readonly body?: string },
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const send = this.#base.startsWith('https:') ? httpsRequest : httpRequest;
      const signal = AbortSignal.any([AbortSignal.timeout(deadlineMs), this.#closing.signal]);
      const request = send(this.#base + path, { ...options, agent: this.#agent, signal }, resolve);
      request.on('timeout', () => {
        // Several requests may find the same silence: it counts once.
        if (options.timeout === this.#silenceMs) {
          this.#silenceMs = Math.min(2 * this.#silenceMs, this.#configDeadlineMs);
        }
        request.destroy(new Error('silence'));
      });
      request.on('error', (cause) => {
        reject(new PlatformError('not-ready', `the source cannot be reached${reasonOf(cause)}`, { cause }));
      });
      request.end(body);
    });
  }
}

/** What an operator can act on: the name of the system's or the TLS library's error. */
function reasonOf(cause: Error): string {
  return 'code' in cause && typeof cause.code === 'string' ? ` (${cause.code})` : '';
}

/** Names what was asked only: an answer's body may say anything. */
function refusalOf(status: number, asked: string): PlatformError {
  const code = status === 401 || status === 403 ? 'invalid-credentials' : status === 404 ? 'not-found' : 'not-ready';
  return new PlatformError(code, `the source answered ${status} to ${asked}`);
}

async function readBytes(answer: IncomingMessage, bytesMax: number): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of answer) {
      bytes += chunk.length;
      if (bytes > bytesMax) throw new PlatformError('payload-too-large', 'the source answers too much');
      chunks.push(chunk);
    }
  } catch (cause) {
    if (cause instanceof PlatformError) throw cause;
    throw new PlatformError('not-ready', 'the answer of the source broke off', { cause });
  }
  return Buffer.concat(chunks, bytes);
}

function parseJson(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (cause) {
    throw new PlatformError('malformed-body', 'the source did not answer JSON', { cause });
  }
  return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : {};
}
