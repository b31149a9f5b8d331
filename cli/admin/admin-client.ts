import { type Json, PlatformError } from '@guidon/protocol';
import { refusalFrom } from './refusal.js';

/** How long one admin request may take, milliseconds. */
const REQUEST_MS_MAX = 10_000;

/** The admin API as a user of it sees it: HTTP, with a credential where one is needed. PATCH reads the current ETag first. */
export class AdminClient {
  readonly #baseUrl: string;
  readonly #authorization: Readonly<Record<string, string>>;

  constructor(baseUrl: string, credential?: string) {
    this.#baseUrl = baseUrl;
    this.#authorization = credential === undefined ? {} : { authorization: `Bearer ${credential}` };
  }

  get(path: string): Promise<AdminAnswer> {
    return this.#send('GET', path);
  }

  /** `body` null: none. */
  post(path: string, body: Json, headers: Record<string, string> = {}): Promise<AdminAnswer> {
    if (body === null) return this.#send('POST', path, undefined, headers);
    return this.#send('POST', path, body, { ...headers, 'content-type': 'application/json' });
  }

  /** Makes `body` in a collection unless something with its key is there already, then reads it. */
  async ensure(collection: string, body: { readonly key: string } & Record<string, Json>): Promise<AdminAnswer> {
    try {
      return await this.post(collection, body);
    } catch (error) {
      if (!(error instanceof PlatformError) || error.code !== 'conflict') throw error;
      return this.get(`${collection}/${body.key}`);
    }
  }

  /** Merge patch (RFC 7396) onto the state as read now. */
  async patch(path: string, patch: Json): Promise<AdminAnswer> {
    const { etag } = await this.get(path);
    return this.#send('PATCH', path, patch, { 'content-type': 'application/merge-patch+json', 'if-match': etag });
  }

  async #send(method: string, path: string, body?: Json, headers: Record<string, string> = {}): Promise<AdminAnswer> {
    const response = await this.#fetch(path, {
      method,
      headers: { ...headers, ...this.#authorization },
      signal: AbortSignal.timeout(REQUEST_MS_MAX),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const request = `${method} ${this.#baseUrl}${path}`;
    if (!response.ok) throw refusalFrom(request, response.status, text);
    return new AdminAnswer(parseAnswer(text, request), response.headers.get('etag') ?? '');
  }

  async #fetch(path: string, request: RequestInit): Promise<Response> {
    try {
      return await fetch(`${this.#baseUrl}${path}`, request);
    } catch (cause) {
      throw new PlatformError('overloaded', `${this.#baseUrl} does not answer: does a control plane run there?`, {
        cause,
      });
    }
  }
}

export class AdminAnswer {
  readonly etag: string;
  /** As it was parsed; `members` are what it holds when it is an object. */
  readonly body: unknown;
  readonly members: ReadonlyMap<string, unknown>;

  constructor(body: unknown, etag: string) {
    this.etag = etag;
    this.body = body;
    this.members = new Map(Object.entries(Object(body)));
  }

  /** The members of each item of a list answer. */
  items(): ReadonlyMap<string, unknown>[] {
    return this.list('items');
  }

  /** The members of each element of the array `name`. */
  list(name: string): ReadonlyMap<string, unknown>[] {
    const items = this.members.get(name);
    return Array.isArray(items) ? items.map((item) => new Map(Object.entries(item))) : [];
  }

  /** The member `name` when it is a string. */
  findText(name: string): string | undefined {
    const value = this.members.get(name);
    return typeof value === 'string' ? value : undefined;
  }

  /** The string member `name` of the answer; its absence means that the two sides disagree about the API. */
  text(name: string): string {
    const value = this.findText(name);
    if (value === undefined) throw new PlatformError('internal', `the admin API's answer has no ${name}`);
    return value;
  }
}

function parseAnswer(body: string, request: string): unknown {
  try {
    return JSON.parse(body);
  } catch (cause) {
    const detail = `${request} was answered with something that is no JSON: does a control plane answer there?`;
    throw new PlatformError('internal', detail, { cause });
  }
}
