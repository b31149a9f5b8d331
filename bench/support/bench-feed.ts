import { createServer, type IncomingMessage, type Server } from 'node:http';
import { type Definition, definitionKey, encodeDefinition } from '@guidon/engine';
import { type EnvironmentRef, parseEnvironmentRef } from '@guidon/protocol';
import { encodeConfigMessage, encodeSigned } from '@guidon/protocol/msgpack';
import {
  type AccessEntry,
  DigestTree,
  EnvironmentDigests,
  encodeDocument,
  fingerprintOf,
  generateCredential,
  generateSigningKey,
  hashDefinition,
  hashSecret,
  type Signed,
  signDocument,
  type TenantQuotas,
} from '@guidon/protocol/signed-config';

const VALID_FOR_MS = 86_400_000;
const TOKEN_COUNT_MAX = 16;

/**
 * What a node asks of a control plane, answered from memory and signed as the control plane signs: ten thousand environments are made in
 * seconds, which take the real one, with a durable write for each flag, a quarter of an hour. The node's side is the real one: it
 * verifies, compiles and stores all of it.
 */
export class BenchFeed {
  readonly nodeCredential = generateCredential('node').token;
  readonly #root = generateSigningKey();
  readonly signingKey = generateSigningKey();
  readonly digests = new EnvironmentDigests();
  readonly #environments = new Map<string, BenchEnvironment>();
  readonly #server: Server = createServer((request, response) => {
    const { status, bytes, etag } = this.#answer(request);
    request.resume();
    response.writeHead(status, { 'content-length': bytes?.length ?? 0, ...(etag === undefined ? {} : { etag }) });
    response.end(bytes);
  });
  #port = 0;

  static async start(): Promise<BenchFeed> {
    const feed = new BenchFeed();
    await new Promise<void>((resolve) => feed.#server.listen(0, '127.0.0.1', resolve));
    const address = feed.#server.address();
    feed.#port = typeof address === 'object' && address !== null ? address.port : 0;
    return feed;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get trustRoot(): string {
    return fingerprintOf(this.#root.publicKey);
  }

  /** What a node needs to follow this feed. */
  get nodeOptions(): { controlPlaneUrl: string; nodeCredential: string; trustRoot: string } {
    return { controlPlaneUrl: this.url, nodeCredential: this.nodeCredential, trustRoot: this.trustRoot };
  }

  /**
   * An environment of a tenant of its own. `definitions` is asked whenever a node fetches them; what is published must go into the set it
   * answered, so one that makes a new set each time is for environments that never change.
   */
  addEnvironment(name: string, definitions: () => DefinitionSet, quotas: TenantQuotas = {}): BenchEnvironment {
    const ref = parseEnvironmentRef({
      tenantId: `ten-${name}`,
      projectId: `prj-${name}`,
      environmentId: `env-${name}`,
    });
    const environment = new BenchEnvironment(ref, this, definitions, quotas);
    this.#environments.set(ref.environmentId, environment);
    return environment;
  }

  #answer(request: IncomingMessage): { status: number; bytes?: Uint8Array; etag?: string } {
    const url = new URL(request.url ?? '/', this.url);
    if (request.headers.authorization !== `Bearer ${this.nodeCredential}`) return { status: 401 };
    if (request.method === 'POST') return { status: 204 };
    const [, , , resource, environmentId = '', what] = url.pathname.split('/');
    if (resource === 'key-set') return { status: 200, bytes: this.#keySet() };
    if (resource === 'digests') return this.#answerDigests(url, request);
    const environment = this.#environments.get(environmentId);
    if (environment === undefined) return { status: 404 };
    if (what === 'access') return { status: 200, bytes: encodeSigned(environment.signedAccess()) };
    return { status: 200, bytes: environment.configBytes(Number(url.searchParams.get('since') ?? 0)) };
  }

  #keySet(): Uint8Array {
    const keys = [{ keyId: this.signingKey.keyId, publicKey: this.signingKey.publicKey }];
    const keySet = { schema: 1, version: 1, issuedAt: Date.now(), keys };
    return encodeSigned(signDocument(encodeDocument(keySet), this.#root), { rootPublicKey: this.#root.publicKey });
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

/** Definitions by key, each with the revision that set it last. Nothing is ever removed. */
export class DefinitionSet {
  readonly #entries = new Map<string, { kind: string; key: string; bytes: Uint8Array; revision: number }>();
  #digest: string | undefined;

  constructor(definitions: readonly Definition[]) {
    for (const definition of definitions) this.set(definition, 1);
  }

  set(definition: Definition, revision: number): void {
    const { kind } = definition;
    const key = definitionKey(definition);
    this.#entries.set(`${kind}\0${key}`, { kind, key, bytes: encodeDefinition(definition), revision });
    this.#digest = undefined;
  }

  /** The tree is thrown away: it takes more memory than a small set. */
  get digest(): string {
    if (this.#digest === undefined) {
      const tree = new DigestTree();
      for (const { kind, key, bytes } of this.#entries.values()) tree.set(kind, key, hashDefinition(bytes));
      this.#digest = tree.digest();
    }
    return this.#digest;
  }

  after(revision: number): Uint8Array[] {
    return [...this.#entries.values()].filter((entry) => entry.revision > revision).map(({ bytes }) => bytes);
  }
}

export class BenchEnvironment {
  readonly ref: EnvironmentRef;
  readonly #feed: BenchFeed;
  readonly #definitions: () => DefinitionSet;
  readonly #quotas: TenantQuotas;
  readonly #entries: AccessEntry[] = [];
  #revision = 1;

  constructor(ref: EnvironmentRef, feed: BenchFeed, definitions: () => DefinitionSet, quotas: TenantQuotas) {
    this.ref = ref;
    this.#quotas = quotas;
    this.#feed = feed;
    this.#definitions = definitions;
  }

  get revision(): number {
    return this.#revision;
  }

  /** A `srv` token. The environment is announced with it: nobody can ask one without tokens. */
  issueCredential(): string {
    if (this.#entries.length >= TOKEN_COUNT_MAX) throw new Error(`an environment has ${TOKEN_COUNT_MAX} tokens here`);
    const { token, credentialId, secret } = generateCredential('srv');
    this.#entries.push({
      credentialId,
      kind: 'srv',
      secretHash: hashSecret(secret),
      notAfter: null,
      revoked: false,
      permissions: [],
      allowedOrigins: [],
    });
    this.#announce();
    return token;
  }

  /** One more revision with one definition set. */
  publish(definition: Definition): void {
    this.#revision += 1;
    this.#definitions().set(definition, this.#revision);
    this.#announce();
  }

  configBytes(since: number): Uint8Array {
    const previousRevision = since <= 0 || since > this.#revision ? 0 : since;
    const definitions = this.#definitions();
    const delta = { changed: definitions.after(previousRevision), removed: [] };
    return encodeConfigMessage({ signed: this.#signedManifest(definitions), previousRevision, delta });
  }

  signedAccess(): Signed {
    const sequence = this.#entries.length;
    return this.#sign({ ...this.#document(), sequence, quotas: this.#quotas, entries: this.#entries });
  }

  #signedManifest({ digest }: DefinitionSet): Signed {
    return this.#sign({
      ...this.#document(),
      revision: this.#revision,
      previousDigest: '',
      digest,
      expiresAt: Date.now() + VALID_FOR_MS,
    });
  }

  #document() {
    return { ...this.ref, epoch: 1, schema: 1, keyId: this.#feed.signingKey.keyId, issuedAt: Date.now() };
  }

  #sign(document: Parameters<typeof encodeDocument>[0]): Signed {
    return signDocument(encodeDocument(document), this.#feed.signingKey);
  }

  #announce(): void {
    const accessSequence = this.#entries.length;
    this.#feed.digests.set({ ...this.ref, epoch: 1, revision: this.#revision, accessSequence });
  }
}
