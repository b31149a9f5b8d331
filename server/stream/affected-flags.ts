import { setImmediate as nextTurn } from 'node:timers/promises';
import { comparePositions, type Position, positionText } from '@guidon/protocol/live-updates';
import { Packr } from 'msgpackr';
import type { ConfigView } from '../config/config-view.js';
import { FlagReferences } from './flag-references.js';

/** What to ask of a stream that was evaluated before. */
export interface Affected {
  readonly flags: readonly string[];
  /** The member `flags` of the request, as msgpack. */
  readonly member: Uint8Array;
}

const packr = new Packr({ useRecords: false, variableMapSize: true });
const SLICE_MS = 2;
/** Positions that streams of one environment come from; more are evaluated whole. */
const ANSWERS_MAX = 64;
/** Beyond it evaluating all flags costs hardly more. */
const FLAGS_MAX = 256;

/**
 * Which flags the `web` streams of one environment have to have evaluated again. Learns who asks whom from the definitions, in slices, as long as
 * there are such streams; until it knows, and whenever it does not, everything is evaluated.
 */
export class AffectedFlags {
  readonly #view: () => ConfigView;
  readonly #onError: (error: unknown) => void;
  #references: FlagReferences | undefined;
  #following: Promise<void> | undefined;
  /** By the position that a stream has, of the present one. */
  readonly #answers = new Map<string, Affected | undefined>();
  #answersAt: Position = { epoch: 0, revision: 0 };

  constructor(view: () => ConfigView, onError: (error: unknown) => void) {
    this.#view = view;
    this.#onError = onError;
  }

  /** A promise while it takes in the change at hand; the first time it learns beside the streams. */
  follow(): Promise<void> | undefined {
    const { position } = this.#view();
    const references = this.#references;
    if (position === undefined || (references !== undefined && comparePositions(references.at, position) === 0))
      return undefined;
    this.#following ??= this.#learn(references).finally(() => {
      this.#following = undefined;
    });
    return references === undefined ? undefined : this.#following;
  }

  /** Never rejects. */
  async #learn(known: FlagReferences | undefined): Promise<void> {
    try {
      const message = await this.#view().message(known?.at);
      const isDelta = known !== undefined && message.previousRevision === known.at.revision;
      const references = isDelta ? known : new FlagReferences(message);
      let startedMs = performance.now();
      for (const _ of references.apply(message)) {
        if (performance.now() - startedMs < SLICE_MS) continue;
        await nextTurn();
        startedMs = performance.now();
      }
      this.#references = references;
    } catch (error) {
      this.#references = undefined;
      this.#onError(error);
    }
  }

  /** From `has` to `serving`; undefined: everything has to be evaluated. */
  since(has: Position, serving: Position): Affected | undefined {
    const references = this.#references;
    const view = this.#view();
    if (references === undefined || this.#following !== undefined || view.position === undefined) return undefined;
    if (comparePositions(references.at, serving) !== 0 || comparePositions(view.position, serving) !== 0)
      return undefined;
    if (comparePositions(this.#answersAt, serving) !== 0) {
      this.#answers.clear();
      this.#answersAt = { epoch: serving.epoch, revision: serving.revision };
    }
    const from = positionText(has);
    if (this.#answers.has(from)) return this.#answers.get(from);
    const names = view.namesSince(has);
    const flags = names === undefined ? undefined : references.flagsAskedBy(names);
    const affected =
      flags === undefined || flags.length > FLAGS_MAX
        ? undefined
        : { flags, member: Buffer.concat([packr.pack('flags'), packr.pack(flags)]) };
    if (this.#answers.size < ANSWERS_MAX) this.#answers.set(from, affected);
    return affected;
  }
}
