import { isConsistent, type TreeHead } from '@guidon/protocol/audit-proof';
import { decodeSigned } from '@guidon/protocol/msgpack';
import type { Signed, TrustedKeys } from '@guidon/protocol/signed-config';
import type pino from 'pino';
import type { SnapshotStore } from '../snapshot-store/snapshot-store.js';
import type { ConfigSource, WitnessStatus } from './config-source.js';

/** Logs beyond this many are not witnessed. */
const LOGS_MAX = 100_000;
/** Answers of one look; more logs than they hold are gone on with at the next. */
const ANSWERS_PER_LOOK_MAX = 20;
/** Changed logs that the status names; the others are counted. */
const REPORTED_MAX = 100;

type Inconsistency = WitnessStatus['inconsistent'][number];

/**
 * A witness of the control plane's audit logs: holds the newest signed head of each on this node's own disk, and takes a newer one only with the proof
 * that the log has only grown (I23). A log that was rewritten, cut or begun anew does not get past the head that is held, and is reported
 * until it is a continuation again; unless its head is signed with a higher epoch, as those after a restore are: then it is taken, and said once.
 */
export class AuditWitness {
  readonly #source: ConfigSource;
  readonly #store: SnapshotStore;
  readonly #keys: () => TrustedKeys;
  readonly #logger: pino.Logger;
  readonly #held = new Map<string, TreeHead>();
  readonly #inconsistent = new Map<string, Inconsistency>();
  #restored = 0;
  #cursor = '';
  #isUnavailable = false;

  constructor(parts: {
    readonly source: ConfigSource;
    readonly store: SnapshotStore;
    readonly keys: () => TrustedKeys;
    readonly logger: pino.Logger;
  }) {
    this.#source = parts.source;
    this.#store = parts.store;
    this.#keys = parts.keys;
    this.#logger = parts.logger;
  }

  get status(): WitnessStatus {
    return {
      logCount: this.#held.size,
      inconsistent: [...this.#inconsistent.values()].slice(0, REPORTED_MAX),
      inconsistentCount: this.#inconsistent.size,
      restoredCount: this.#restored,
    };
  }

  /** Takes up what the disk has. Once the keys are known: a head that they did not sign is none. */
  restore(): void {
    for (const signed of this.#store.listWitnessedHeads()) {
      try {
        const head = this.#keys().verifyTreeHead(signed);
        this.#held.set(head.owner, head);
      } catch (error) {
        this.#logger.warn({ err: error }, 'a stored head of an audit log cannot be used');
      }
    }
  }

  /** Looks at the heads that are new since the last look. Never rejects. */
  async look(): Promise<void> {
    try {
      for (let count = 0; count < ANSWERS_PER_LOOK_MAX; count += 1) {
        const answer = await this.#source.fetchTreeHeads(this.#cursor);
        await this.#takeAll(answer.heads);
        this.#cursor = answer.cursor;
        if (!answer.hasMore) break;
      }
      this.#isUnavailable = false;
    } catch (error) {
      if (!this.#isUnavailable) this.#logger.warn({ err: error }, 'the heads of audit logs cannot be looked at');
      this.#isUnavailable = true;
    }
  }

  async #takeAll(heads: readonly Uint8Array[]): Promise<void> {
    const taken = new Map<string, Signed>();
    try {
      for (const bytes of heads) {
        const { signed } = decodeSigned(bytes);
        const head = this.#keys().verifyTreeHead(signed);
        if (await this.#take(head)) taken.set(head.owner, signed);
      }
    } finally {
      // What was taken before one could not be asked about is kept.
      if (taken.size > 0) await this.#store.putWitnessedHeads(taken);
    }
  }

  /** True when it is the head to hold from now on. Rejects when the control plane cannot be asked for the proof. */
  async #take(head: TreeHead): Promise<boolean> {
    const held = this.#held.get(head.owner);
    const fault = held === undefined ? undefined : await this.#faultOf(held, head);
    if (held !== undefined && fault !== undefined) {
      if (epochOf(head) <= epochOf(held)) {
        this.#report(held, head, fault);
        return false;
      }
      const { owner, size, root } = held;
      this.#restored += 1;
      this.#logger.warn(
        { owner, size, root, shownSize: head.size, epoch: head.epoch },
        'a restore has cut an audit log',
      );
    }
    if (this.#inconsistent.delete(head.owner)) {
      this.#logger.warn({ owner: head.owner, size: head.size }, 'an audit log continues what it was again');
    }
    const isSame = held?.size === head.size && epochOf(held) === epochOf(head);
    if (isSame || (held === undefined && this.#held.size >= LOGS_MAX)) return false;
    this.#held.set(head.owner, head);
    return true;
  }

  /** Why `head` is no continuation of `held`; undefined when it is one. */
  async #faultOf(held: TreeHead, head: TreeHead): Promise<string | undefined> {
    if (epochOf(head) < epochOf(held)) return 'the head is one from before a restore';
    if (head.size < held.size) return 'the log has become shorter';
    if (head.size === held.size) return head.root === held.root ? undefined : 'the log has other entries';
    if (held.size === 0) return undefined;
    const hashes = await this.#source.fetchConsistencyProof(head.owner, held.size, head.size);
    if (hashes === undefined) return 'there is no proof that the log only grew';
    const isGrown = isConsistent(stateOf(held), stateOf(head), hashes);
    return isGrown ? undefined : 'the log does not begin with what it was';
  }

  #report(held: TreeHead, head: TreeHead, reason: string): void {
    const { owner, size, root } = held;
    if (!this.#inconsistent.has(owner)) {
      this.#logger.error({ owner, size, shownSize: head.size, reason }, 'an audit log was changed');
    }
    this.#inconsistent.set(owner, { owner, size, root, shownSize: head.size, shownRoot: head.root, reason });
  }
}

const epochOf = ({ epoch }: TreeHead): number => epoch ?? 0;

const stateOf = ({ size, root }: TreeHead): { size: number; root: Uint8Array } => ({
  size,
  root: Buffer.from(root, 'hex'),
});
