import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { encodeDefinition, type FlagDefinition } from '@guidon/engine';
import { parseEnvironmentRef } from '@guidon/protocol';
import { configTextOf } from '@guidon/protocol/live-updates';
import {
  DigestTree,
  encodeDocument,
  fingerprintOf,
  generateCredential,
  generateSigningKey,
  hashDefinition,
  keySetTextOf,
  signDocument,
} from '@guidon/protocol/signed-config';

/** Answers one client what a node would: the key set and one signed configuration. So that nothing else runs while evaluations are timed. */
export class SignedConfigServer {
  readonly key = generateCredential('srv').token;
  readonly trustRoot: string;
  readonly #server: Server;

  constructor(flags: readonly FlagDefinition[]) {
    const [root, signing] = [generateSigningKey(), generateSigningKey()];
    this.trustRoot = fingerprintOf(root.publicKey);
    const issuedAt = Date.now();
    const keys = [{ keyId: signing.keyId, publicKey: signing.publicKey }];
    const keySet = signDocument(encodeDocument({ schema: 1, version: 1, issuedAt, keys }), root);
    const tree = new DigestTree();
    const changed = flags.map((flag) => encodeDefinition(flag));
    for (const [index, { key }] of flags.entries())
      tree.set('flag', key, hashDefinition(changed[index] ?? Buffer.of()));
    const manifest = {
      ...parseEnvironmentRef({ tenantId: 'bench', projectId: 'bench', environmentId: 'bench' }),
      epoch: 1,
      revision: 1,
      previousDigest: '',
      digest: tree.digest(),
      schema: 1,
      keyId: signing.keyId,
      issuedAt,
      expiresAt: issuedAt + 3_600_000,
    };
    const signed = signDocument(encodeDocument(manifest), signing);
    const config = JSON.stringify(configTextOf({ signed, previousRevision: 0, delta: { changed, removed: [] } }));
    this.#server = createServer((request, response) => {
      request.resume();
      const isKeySet = request.url === '/v1/key-set';
      const isEvents = request.url === '/v1/events';
      response.writeHead(isEvents ? 202 : 200, { 'content-type': 'application/json' });
      if (isEvents) response.end('{"accepted":0,"refused":[]}');
      else response.end(isKeySet ? JSON.stringify(keySetTextOf(root.publicKey, keySet)) : config);
    });
  }

  /** Resolves with its URL. */
  async start(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
