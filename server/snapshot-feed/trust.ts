import { PlatformError } from '@guidon/protocol';
import { TrustedKeys, VerifiedSignatures } from '@guidon/protocol/signed-config';
import type pino from 'pino';
import type { SnapshotStore } from '../snapshot-store/snapshot-store.js';
import type { ConfigSource } from './config-source.js';

/** More than are evicted and asked for again within a while. */
const VERIFIED_COUNT_MAX = 8_192;

/**
 * The keys this node verifies with. The root is the one the operator pinned; without a pin, the first one seen, kept across restarts, and
 * another one later is refused.
 */
export class Trust {
  readonly #store: SnapshotStore;
  readonly #trustRoot: string | undefined;
  readonly #logger: pino.Logger;
  readonly #verified = new VerifiedSignatures(VERIFIED_COUNT_MAX);
  #keys: TrustedKeys | undefined;
  #rootPublicKey: string | undefined;

  constructor(store: SnapshotStore, trustRoot: string | undefined, logger: pino.Logger) {
    this.#store = store;
    this.#trustRoot = trustRoot;
    this.#logger = logger;
  }

  get isKnown(): boolean {
    return this.#keys !== undefined;
  }

  /** Throws `not-ready` before the first key set. */
  readonly keys = (): TrustedKeys => {
    if (this.#keys === undefined) throw new PlatformError('not-ready', 'no signing keys are known yet');
    return this.#keys;
  };

  /** What the disk has: of before a restart, or of another process of this node. */
  restore(): void {
    const stored = this.#store.findTrust();
    if (stored === undefined || (this.#rootPublicKey !== undefined && this.#rootPublicKey !== stored.rootPublicKey))
      return;
    try {
      const keys = this.#keys ?? new TrustedKeys(stored.rootPublicKey, this.#trustRoot, this.#verified.isSignedBy);
      keys.acceptKeySet(stored.keySet);
      this.#keys = keys;
      this.#rootPublicKey = stored.rootPublicKey;
    } catch (error) {
      this.#logger.error({ err: error }, 'the stored keys are not those of the pinned trust root');
    }
  }

  /** Fetches the key set; rejects when it is not signed by the pinned root. The keys in force stay as they are then. */
  async refresh(source: ConfigSource): Promise<void> {
    const { rootPublicKey, keySet } = await source.fetchKeySet();
    if (this.#rootPublicKey !== undefined && this.#rootPublicKey !== rootPublicKey) {
      throw new PlatformError('invalid-credentials', 'the control plane shows another root key than the pinned one');
    }
    const keys = this.#keys ?? new TrustedKeys(rootPublicKey, this.#trustRoot, this.#verified.isSignedBy);
    const before = keys.keySetVersion;
    const accepted = keys.acceptKeySet(keySet);
    if (this.#keys === undefined && this.#trustRoot === undefined) {
      this.#logger.warn({ rootPublicKey }, 'no trust root was given: this root key is trusted from now on');
    }
    this.#keys = keys;
    this.#rootPublicKey = rootPublicKey;
    if (accepted.version !== before) await this.#store.putTrust(rootPublicKey, keySet);
  }
}
