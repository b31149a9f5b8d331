import { decode, encode } from '@msgpack/msgpack';

/** Any JSON or msgpack answer, as a test reads it. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // A test asserts on members whose shape it does not know beforehand; toMatchObject checks them.
  readonly body: Record<string, unknown>;
}

interface Sending {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly key?: string;
  readonly body?: unknown;
}

export function sendJson(url: string, sending: Sending = {}): Promise<Answer> {
  const hasBody = sending.body !== undefined;
  return send(url, sending, 'application/json', hasBody ? JSON.stringify(sending.body) : undefined);
}

export function sendMsgpack(url: string, sending: Sending = {}): Promise<Answer> {
  const hasBody = sending.body !== undefined;
  return send(url, sending, 'application/msgpack', hasBody ? Uint8Array.from(encode(sending.body)) : undefined);
}

async function send(
  url: string,
  sending: Sending,
  mediaType: string,
  body: string | Uint8Array<ArrayBuffer> | undefined,
): Promise<Answer> {
  const response = await fetch(url, {
    method: sending.method ?? (body === undefined ? 'GET' : 'POST'),
    headers: {
      ...(body === undefined ? {} : { 'content-type': mediaType }),
      accept: mediaType,
      ...(sending.key === undefined ? {} : { authorization: `Bearer ${sending.key}` }),
      ...sending.headers,
    },
    ...(body === undefined ? {} : { body }),
  });
  const bytes = new Uint8Array(await response.arrayBuffer());
  const isMsgpack = response.headers.get('content-type')?.startsWith('application/msgpack') ?? false;
  const decoded: unknown =
    bytes.length === 0 ? {} : isMsgpack ? decode(bytes) : JSON.parse(new TextDecoder().decode(bytes));
  return {
    status: response.status,
    headers: response.headers,
    body: Object.fromEntries(Object.entries(decoded ?? {})),
  };
}
