import { encode } from '@msgpack/msgpack';

export type BodyFormat = 'msgpack' | 'json';

export interface HttpRequestOptions {
  readonly path: string;
  readonly token: string;
  readonly format: BodyFormat;
}

/** The headers every measured request carries beside Host and Content-Length. */
export function headersOf({ token, format }: HttpRequestOptions): Record<string, string> {
  const contentType = `application/${format}`;
  return {
    'content-type': contentType,
    accept: contentType,
    authorization: `Bearer ${token}`,
    'user-agent': 'guidon-bench',
    'accept-encoding': 'identity',
    connection: 'keep-alive',
  };
}

export function encodeBody(value: object, format: BodyFormat): Buffer {
  return Buffer.from(format === 'msgpack' ? encode(value) : JSON.stringify(value));
}

/** The whole request as it goes over the wire. */
export function httpRequest(body: Uint8Array, options: HttpRequestOptions): Buffer {
  const lines = [
    `POST ${options.path} HTTP/1.1`,
    'host: 127.0.0.1',
    `content-length: ${body.length}`,
    ...Object.entries(headersOf(options)).map(([name, value]) => `${name}: ${value}`),
  ];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), body]);
}
