import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { decodeConfigMessage, decodeSigned, encodeConfigMessage, encodeSigned } from '@guidon/protocol/msgpack';
import { type Signed, type SigningKey, signDocument, signingKeyFromPem } from '@guidon/protocol/signed-config';
import type { RecordedExchange } from './compat-case.js';
import type { OpenedFixture } from './opened-fixture.js';

const DAY_MS = 86_400_000;

/**
 * An old control plane, as far as what it answered was recorded: the same requests get the same answers; paths and parameters that the old node
 * did not use are unknown to it, and refused as it refused what it did not know. Documents are signed anew with its key, with later dates
 * and no other members than they had: fixtures outlive the 90 days of a manifest.
 */
export class RecordedControlPlane {
  /** `METHOD path status` of what was refused. */
  readonly refused: string[] = [];
  readonly #server: Server;
  url = '';

  static async start({ compatCase, controlPlaneDirectory }: OpenedFixture): Promise<RecordedControlPlane> {
    const key = signingKeyFromPem(readFileSync(join(controlPlaneDirectory, 'keys/signing.pem'), 'utf8'));
    const plane = new RecordedControlPlane(compatCase.exchanges, key);
    await new Promise((wake) => plane.#server.listen(0, '127.0.0.1', () => wake(undefined)));
    const address = plane.#server.address();
    plane.url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
    return plane;
  }

  private constructor(exchanges: readonly RecordedExchange[], key: SigningKey) {
    this.#server = createServer(({ method = '', url = '', headers }, reply) => {
      const same = exchanges.filter((one) => one.method === method && one.path === url);
      const found = same.find(({ status }) => status === 200);
      if (found === undefined) {
        const isKnownPath = exchanges.some(({ path }) => pathOf(path) === pathOf(url));
        const status = isKnownPath ? 400 : 404;
        this.refused.push(`${method} ${pathOf(url)} ${status}`);
        reply.writeHead(status).end();
        return;
      }
      const head = { 'content-type': found.type, ...(found.etag === '' ? {} : { etag: found.etag }) };
      if (found.etag !== '' && headers['if-none-match'] === found.etag) reply.writeHead(304, head).end();
      else reply.writeHead(200, head).end(renewed(found, key));
    });
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((wake) => this.#server.close(wake));
  }
}

function renewed({ path, body }: RecordedExchange, key: SigningKey): Uint8Array {
  const bytes = Buffer.from(body, 'base64');
  if (pathOf(path).endsWith('/config')) {
    const message = decodeConfigMessage(bytes);
    return encodeConfigMessage({ ...message, signed: signedAnew(message.signed, key) });
  }
  return pathOf(path).endsWith('/access') ? encodeSigned(signedAnew(decodeSigned(bytes).signed, key)) : bytes;
}

function signedAnew({ document }: Signed, key: SigningKey): Signed {
  const members: Record<string, unknown> = JSON.parse(Buffer.from(document).toString('utf8'));
  const now = Date.now();
  const dates = { issuedAt: now, ...('expiresAt' in members ? { expiresAt: now + DAY_MS } : {}) };
  return signDocument(Buffer.from(JSON.stringify({ ...members, ...dates })), key);
}

export const pathOf = (url: string): string => url.replace(/\?.*/, '');
