import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type Definition, definitionKey, encodeDefinition } from '@guidon/engine';
import { type ChangeBus, type EnvironmentRef, messageIdOf, parseEnvironmentRef, subjectOf } from '@guidon/protocol';
import { encodeConfigMessage, encodeSigned } from '@guidon/protocol/msgpack';
import {
  type AccessEntry,
  type AccessList,
  type ConfigMessage,
  DigestTree,
  EnvironmentDigests,
  encodeDocument,
  findCredential,
  fingerprintOf,
  generateCredential,
  generateSigningKey,
  hashDefinition,
  hashSecret,
  type Manifest,
  type Signed,
  type SigningKey,
  signDocument,
  type TenantQuotas,
} from '@guidon/protocol/signed-config';

/**
 * The control plane's internal API with nothing behind it: signs whatever a test wants signed, with the real functions, and can be made to
 * lie. It exists so that the node's side is tested against forged, expired and replayed documents, which the real one never makes.
 */
export class SignedFeedServer {
  readonly root = generateSigningKey();
  signingKey = generateSigningKey();
  readonly nodeCredential = generateCredential('node').token;
  readonly environments = new Map<string, FeedEnvironment>();
  readonly digests = new EnvironmentDigests();
  bus: ChangeBus | undefined;
  /** The last revision that somebody fetched, by environment. */
  readonly fetchedRevisions = new Map<string, number>();
  /** Requests answered, by path. */
  readonly requests: string[] = [];
  /** Answers every request with this status instead. */
  failWith: number | undefined;
  /** Answers no request as long as this is true. */
  holds = false;
  /** To the status of a node. */
  statusAnswer = 204;
  #keySetVersion = 1;
  readonly #server: Server = createServer((request, response) => this.#answer(request, response));
  #port = 0;

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(this.#port, '127.0.0.1', resolve));
    const address = this.#server.address();
    this.#port = typeof address === 'object' && address !== null ? address.port : 0;
    return this;
  }

  /** Start again later for the same port. */
  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get trustRoot(): string {
    return fingerprintOf(this.root.publicKey);
  }

  /** An environment of a tenant of its own unless told otherwise. */
  addEnvironment(name: string, ids: Partial<Record<keyof EnvironmentRef, string>> = {}): FeedEnvironment {
    const ref = parseEnvironmentRef({
      tenantId: `ten-${name}`,
      projectId: `prj-${name}`,
      environmentId: `env-${name}`,
      ...ids,
    });
    const environment = new FeedEnvironment(ref, this);
    this.environments.set(ref.environmentId, environment);
    return environment;
  }

  rotateSigningKey(): void {
    this.signingKey = generateSigningKey();
    this.#keySetVersion += 1;
  }

  keySet(): Signed {
    const keys = [{ keyId: this.signingKey.keyId, publicKey: this.signingKey.publicKey }];
    return signDocument(
      encodeDocument({ schema: 1, version: this.#keySetVersion, issuedAt: Date.now(), keys }),
      this.root,
    );
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', this.url);
    this.requests.push(url.pathname);
    request.resume();
    if (this.holds) return;
    const { status, bytes, etag } = this.#answerTo(url, request);
    response.writeHead(status, { 'content-length': bytes?.length ?? 0, ...(etag === undefined ? {} : { etag }) });
    response.end(bytes);
  }

  #answerTo(url: URL, request: IncomingMessage): { status: number; bytes?: Uint8Array; etag?: string } {
    if (this.failWith !== undefined) return { status: this.failWith };
    if (request.headers.authorization !== `Bearer ${this.nodeCredential}`) return { status: 401 };
    if (request.method === 'POST') {
      return { status: /^\/internal\/v1\/nodes\/[^/]+\/status$/.test(url.pathname) ? this.statusAnswer : 404 };
    }
    const [, , , resource, environmentId, what] = url.pathname.split('/');
    if (resource === 'key-set') {
      return { status: 200, bytes: encodeSigned(this.keySet(), { rootPublicKey: this.root.publicKey }) };
    }
    if (resource === 'digests') return this.#answerDigests(url, request);
    const environment = this.environments.get(environmentId ?? '');
    if (environment === undefined) return { status: 404 };
    if (what === 'access') {
      return { status: 200, bytes: environment.accessOverride ?? encodeSigned(environment.signedAccess()) };
    }
    this.fetchedRevisions.set(environment.ref.environmentId, environment.revision);
    return { status: 200, bytes: environment.configBytes(Number(url.searchParams.get('since') ?? 0)) };
  }

  #answerDigests(url: URL, request: IncomingMessage): { status: number; bytes?: Uint8Array; etag: string } {
    const etag = `"${this.digests.root()}"`;
    const buckets = url.searchParams.get('buckets');
    if (buckets !== null) {
      const environments = buckets.split(',').flatMap((bucket) => this.digests.statesOf(Number.parseInt(bucket, 16)));
      return { status: 200, bytes: Buffer.from(JSON.stringify({ environments })), etag };
    }
    if (request.headers['if-none-match'] === etag) return { status: 304, etag };
    const answer = { root: this.digests.root(), buckets: this.digests.bucketDigests() };
    return { status: 200, bytes: Buffer.from(JSON.stringify(answer)), etag };
  }
}

interface Change {
  readonly changed: readonly (readonly [string, string])[];
  readonly removed: readonly (readonly [string, string])[];
}

export class FeedEnvironment {
  readonly ref: EnvironmentRef;
  epoch = 1;
  revision = 0;
  /** Of the next manifests, from now, milliseconds. */
  validForMs = 3_600_000;
  /** The digests go on saying what they said. */
  isSecretive = false;
  /** What the config route answers instead. */
  configOverride: ((since: number) => Uint8Array) | undefined;
  /** What the access route answers instead. */
  accessOverride: Uint8Array | undefined;
  readonly #feed: SignedFeedServer;
  readonly #tree = new DigestTree();
  readonly #definitions = new Map<string, Uint8Array>();
  readonly #changes: Change[] = [];
  #digest = '';
  #signed: Signed | undefined;
  /** Of the next access list. */
  tenantQuotas: TenantQuotas | undefined;
  #entries: AccessEntry[] = [];
  #sequence = 0;

  constructor(ref: EnvironmentRef, feed: SignedFeedServer) {
    this.ref = ref;
    this.#feed = feed;
  }

  /** One more revision. Resolves when the bus, if any, has it. */
  async publish(
    set: readonly Definition[],
    remove: readonly (readonly [string, string])[] = [],
  ): Promise<ConfigMessage> {
    return this.publishBytes(
      set.map((definition) => [definition.kind, definitionKey(definition), encodeDefinition(definition)]),
      remove,
    );
  }

  /** The same for bytes that need not be a definition. */
  async publishBytes(
    set: readonly (readonly [kind: string, key: string, bytes: Uint8Array])[],
    remove: readonly (readonly [string, string])[] = [],
  ): Promise<ConfigMessage> {
    for (const [kind, key, bytes] of set) {
      this.#tree.set(kind, key, hashDefinition(bytes));
      this.#definitions.set(`${kind}\0${key}`, bytes);
    }
    for (const [kind, key] of remove) {
      this.#tree.delete(kind, key);
      this.#definitions.delete(`${kind}\0${key}`);
    }
    this.revision += 1;
    this.#changes.push({ changed: set.map(([kind, key]) => [kind, key]), removed: remove });
    const previousDigest = this.#digest;
    this.#digest = this.#tree.digest();
    this.#signed = this.sign({ previousDigest });
    this.#announce();
    const message = this.message(this.revision - 1);
    await this.#feed.bus?.publish(
      subjectOf('config', this.ref),
      encodeConfigMessage(message),
      messageIdOf('config', { ...this.ref, epoch: this.epoch, to: this.revision }),
    );
    return message;
  }

  /** A signed manifest of the present definitions, with members replaced. */
  sign(members: Partial<Manifest> = {}, key: SigningKey = this.#feed.signingKey): Signed {
    const now = Date.now();
    const manifest: Manifest = {
      ...this.ref,
      epoch: this.epoch,
      revision: this.revision,
      previousDigest: '',
      digest: this.#digest,
      schema: 1,
      keyId: key.keyId,
      issuedAt: now,
      expiresAt: now + this.validForMs,
      ...members,
    };
    return signDocument(encodeDocument(manifest), key);
  }

  /** What a node that has `since` is sent. */
  message(since: number, signed: Signed = this.signed()): ConfigMessage {
    if (since <= 0 || since > this.revision) {
      return { signed, previousRevision: 0, delta: { changed: [...this.#definitions.values()], removed: [] } };
    }
    const changed = new Map<string, Uint8Array>();
    const removed = new Map<string, readonly [string, string]>();
    for (const change of this.#changes.slice(since)) {
      for (const [kind, key] of [...change.changed, ...change.removed]) {
        const bytes = this.#definitions.get(`${kind}\0${key}`);
        if (bytes === undefined) removed.set(`${kind}\0${key}`, [kind, key]);
        else changed.set(`${kind}\0${key}`, bytes);
      }
    }
    return {
      signed,
      previousRevision: since,
      delta: { changed: [...changed.values()], removed: [...removed.values()] },
    };
  }

  signed(): Signed {
    if (this.#signed === undefined) throw new Error('nothing has been published');
    return this.#signed;
  }

  get digest(): string {
    return this.#digest;
  }

  configBytes(since: number): Uint8Array {
    return this.configOverride?.(since) ?? encodeConfigMessage(this.message(since));
  }

  /** A token of this environment; its access list is published. */
  async issueCredential(kind: 'srv' | 'web', entry: Partial<AccessEntry> = {}): Promise<string> {
    const { token, credentialId, secret } = generateCredential(kind);
    await this.publishAccess([
      ...this.#entries,
      {
        credentialId,
        kind,
        secretHash: hashSecret(secret),
        notAfter: null,
        revoked: false,
        permissions: [],
        allowedOrigins: [],
        ...entry,
      },
    ]);
    return token;
  }

  async revoke(token: string): Promise<void> {
    const credentialId = findCredential(token)?.credentialId;
    await this.publishAccess(
      this.#entries.map((entry) => (entry.credentialId === credentialId ? { ...entry, revoked: true } : entry)),
    );
  }

  async publishAccess(entries: readonly AccessEntry[]): Promise<void> {
    this.#entries = [...entries];
    this.#sequence += 1;
    this.#announce();
    await this.#feed.bus?.publish(
      subjectOf('access', this.ref),
      encodeSigned(this.signedAccess()),
      messageIdOf('access', { ...this.ref, epoch: this.epoch, to: this.#sequence }),
    );
  }

  signedAccess(members: Partial<AccessList> = {}): Signed {
    const key = this.#feed.signingKey;
    return signDocument(
      encodeDocument({
        ...this.ref,
        epoch: this.epoch,
        sequence: this.#sequence,
        schema: 1,
        keyId: key.keyId,
        issuedAt: Date.now(),
        ...(this.tenantQuotas === undefined ? {} : { quotas: this.tenantQuotas }),
        entries: this.#entries,
        ...members,
      }),
      key,
    );
  }

  /** Lets the digest poll know where this environment stands. */
  announce(): void {
    this.isSecretive = false;
    this.#announce();
  }

  #announce(): void {
    if (this.isSecretive) return;
    const { epoch, revision } = this;
    this.#feed.digests.set({ ...this.ref, epoch, revision, accessSequence: this.#sequence });
  }
}
