import type { CompilePool } from '@guidon/pool';
import { PlatformError } from '@guidon/protocol';
import type { ConfigMessage, Manifest } from '@guidon/protocol/signed-config';
import { decideConfig } from '@guidon/protocol/signed-config';
import type { ConfigInForce } from './config-in-force.js';
import type { Outcome } from './reducer-parts.js';
import { traceActivation, traceStep, traceVerified } from './trace-activation.js';

/**
 * Brings config of one environment into force that came as a message, from the bus or over HTTP: signature, environment -> revision rules
 * (decideConfig) -> worker: apply, digest, compile, verify, smoke evaluation -> ConfigInForce.
 */
export class ConfigFromMessages {
  readonly #inForce: ConfigInForce;

  constructor(inForce: ConfigInForce) {
    this.#inForce = inForce;
  }

  /** Config from any source. Never throws for what a message holds. */
  receive(message: ConfigMessage): Promise<Outcome> {
    return traceActivation(this.#inForce.environment, message.traceparent, () => this.#receive(message));
  }

  async #receive(message: ConfigMessage): Promise<Outcome> {
    const startedAtMs = performance.now();
    let manifest: Manifest;
    try {
      manifest = this.#inForce.parts.keys().verifyManifest(this.#inForce.environment, message.signed);
    } catch (error) {
      return this.#inForce.refuse(error, 'config is not to be trusted');
    }
    const decision = decideConfig(
      manifest,
      { previousRevision: message.previousRevision, hasDelta: message.delta !== undefined },
      {
        mark: this.#inForce.mark,
        active: this.#inForce.served.serving,
        quarantine: this.#inForce.quarantine.entries,
        nowMs: this.#inForce.parts.now(),
      },
    );
    if (decision.action !== 'ignore') traceVerified(manifest, startedAtMs);
    switch (decision.action) {
      case 'ignore':
        if (decision.reason === 'duplicate') await this.#inForce.renew(manifest, message.signed);
        return 'ignored';
      case 'fetch':
        return 'fetch';
      case 'refuse':
        if (decision.reason === 'fork') this.#inForce.counters.forks += 1;
        return this.#inForce.refuse(new PlatformError('conflict', decision.reason), 'config breaks the revision rules');
      case 'apply':
        return this.#apply(manifest, message, decision.base);
    }
  }

  async #apply(manifest: Manifest, message: ConfigMessage, base: 'active' | 'nothing'): Promise<Outcome> {
    const { changed, removed } = message.delta ?? { changed: [], removed: [] };
    const isWhole = base === 'nothing';
    try {
      const answer = await traceStep('compile', () => this.#compile(manifest, changed, removed, isWhole));
      switch (answer?.status) {
        case undefined:
          return 'fetch-whole';
        case 'digest-mismatch':
          if (!isWhole) return 'fetch-whole';
          return this.#inForce.refuse(
            new PlatformError('conflict', 'the digest is not that of the manifest'),
            'config is damaged',
          );
        case 'refused':
          this.#inForce.logger.error({ issues: answer.issues.slice(0, 20) }, 'a revision does not compile');
          await this.#inForce.putQuarantine(manifest, answer.issues[0]?.detail ?? 'it does not compile');
          return 'refused';
        case 'compiled':
          await this.#inForce.bringIntoForce({
            manifest,
            signed: message.signed,
            answer,
            changed,
            removed,
            isWhole,
            fallback: this.#inForce.nextFallback(),
          });
          // By two wall clocks, for display alone (I27). What is fetched whole may be as old as it likes.
          if (!isWhole) this.#inForce.lagMs = Math.max(0, this.#inForce.parts.now() - manifest.issuedAt);
          return 'activated';
      }
    } catch (error) {
      return this.#inForce.strike(manifest, error);
    }
  }

  /** Undefined when the node lacks definitions that the worker would need. */
  async #compile(
    manifest: Manifest,
    changed: readonly Uint8Array[],
    removed: readonly (readonly [string, string])[],
    isWhole: boolean,
  ): Promise<Exclude<Awaited<ReturnType<CompilePool['compile']>>, { status: 'needs-all' }> | undefined> {
    const { pool } = this.#inForce.parts;
    const request = {
      environment: this.#inForce.environment,
      revision: manifest.revision,
      expectedDigest: manifest.digest,
    };
    const { serving } = this.#inForce.served;
    if (!isWhole && serving !== undefined) {
      const answer = await pool.compile({ ...request, base: serving.digest, changed, removed });
      if (answer.status !== 'needs-all') return answer;
    }
    const kept = isWhole ? [] : this.#inForce.ledger.definitions(removed);
    if (kept === undefined) return undefined;
    const answer = await pool.compile({ ...request, changed: [...kept, ...changed], removed: [] });
    if (answer.status === 'needs-all') throw new PlatformError('internal', 'a worker asked for more than everything');
    // The caller's change comes last: only its entries are new to the store.
    return answer.status === 'compiled' ? { ...answer, entries: answer.entries.slice(kept.length) } : answer;
  }
}
