import { type EnvironmentRef, PlatformError } from '@guidon/protocol';
import { keySetFromText, type Manifest, parseManifest, type Signed, TrustedKeys } from '@guidon/protocol/signed-config';
import { isSignedByRemembered } from './remembered-signatures.js';

/** What the disk keeps of it. */
export interface KnownKeys {
  readonly rootPublicKey: string;
  readonly keySet: Signed;
}

export interface TrustOptions {
  /** Pinned by whoever runs the program; undefined pins the first root key that is seen. */
  readonly trustRoot: string | undefined;
  readonly environmentId: string | undefined;
  /** Of a node; parsed JSON. */
  readonly fetchKeySet: () => Promise<unknown>;
  readonly warn: (message: string, error?: unknown) => void;
}

/** Unknown keys are asked after no more often than this: whoever sends nonsense must not make us ask for each of it. */
const REFRESH_MS_MIN = 5_000;

/**
 * Whom this client believes: pinned root -> key set -> signing keys -> manifests of one environment. Root and environment stay what they were at
 * first use, also across restarts when there is a data folder.
 */
export class Trust {
  readonly #options: TrustOptions;
  #keys: TrustedKeys | undefined;
  #known: KnownKeys | undefined;
  #environment: EnvironmentRef | undefined;
  /** `performance.now()` of the last answer. */
  #refreshedAtMs = Number.NEGATIVE_INFINITY;
  #refreshing: Promise<void> | undefined;

  constructor(options: TrustOptions) {
    this.#options = options;
  }

  get known(): KnownKeys | undefined {
    return this.#known;
  }

  /** What the disk has. Throws when it is not to be trusted; then nothing has changed. */
  restore(known: KnownKeys): void {
    this.#accept(known);
  }

  /** Reads the key set of a node when it is older than `olderThanMs`. Rejects when it is not to be trusted: the keys stay as they are. */
  refresh(olderThanMs: number): Promise<void> {
    if (performance.now() - this.#refreshedAtMs < olderThanMs) return Promise.resolve();
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async #refresh(): Promise<void> {
    const isFirst = this.#keys === undefined;
    this.#accept(keySetFromText(await this.#options.fetchKeySet()));
    this.#refreshedAtMs = performance.now();
    if (isFirst && this.#options.trustRoot === undefined)
      this.#options.warn('no trustRoot was given: the root key of this node is trusted from now on');
  }

  /** The manifest, when its key, signature and environment are right. The revision rule is the caller's. */
  async verify(signed: Signed): Promise<Manifest> {
    const manifest = manifestOf(signed);
    if (this.#keys === undefined) await this.refresh(0);
    else if (!this.#keys.isInForce(manifest)) await this.refresh(REFRESH_MS_MIN);
    return this.verifyKnown(signed);
  }

  /** With the keys there are. */
  verifyKnown(signed: Signed): Manifest {
    if (this.#keys === undefined) throw new PlatformError('not-ready', 'no signing keys are known yet');
    const parsed = manifestOf(signed);
    const { environmentId } = this.#options;
    if (environmentId !== undefined && parsed.environmentId !== environmentId)
      throw new PlatformError('invalid-credentials', 'the config is of another environment than environmentId names');
    const manifest = this.#keys.verifyManifest(this.#environment ?? parsed, signed, parsed);
    this.#environment ??= manifest;
    return manifest;
  }

  #accept(known: KnownKeys): void {
    if (this.#known !== undefined && this.#known.rootPublicKey !== known.rootPublicKey)
      throw new PlatformError('invalid-credentials', 'the node shows another root key than the one trusted until now');
    const keys = this.#keys ?? new TrustedKeys(known.rootPublicKey, this.#options.trustRoot, isSignedByRemembered);
    keys.acceptKeySet(known.keySet);
    this.#keys = keys;
    this.#known = known;
  }
}

/** Clients that are sent the same frame are handed the same message (shared-frames.ts): it is read once. What is signed is never changed. */
const manifests = new WeakMap<Signed, Manifest>();

function manifestOf(signed: Signed): Manifest {
  const known = manifests.get(signed);
  if (known !== undefined) return known;
  const manifest = parseManifest(signed.document);
  manifests.set(signed, manifest);
  return manifest;
}
