import { randomBytes } from 'node:crypto';
import type { FlagDefinition, FlagType, Targeting, Variation } from '@guidon/engine';
import type { Versioned } from '../commit/change.js';
import type { ValueSchema } from './value-schema.js';

/** A variation as people edit it. The name is no part of a definition. */
export interface NamedVariation extends Variation {
  readonly name?: string;
}

/** Row of a flag: what all environments of its project share. */
export interface FlagRecord extends Versioned {
  /** New for each flag that is made, also when a deleted flag's key is used again. */
  readonly id: string;
  readonly key: string;
  readonly type: FlagType;
  readonly name: string;
  readonly description: string;
  readonly tags: readonly string[];
  readonly lifetime: 'temporary' | 'permanent';
  readonly clientSide: boolean;
  readonly variations: readonly NamedVariation[];
  readonly valueSchema: ValueSchema | null;
  /** Epoch milliseconds; null = in use. An archived flag is shipped nowhere. */
  readonly archivedAt: number | null;
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** Row of a flag's targeting in one environment. There is one in every environment as long as the flag exists. */
export interface TargetingRecord extends Versioned {
  readonly flagId: string;
  readonly targeting: Targeting;
  /** Made once; no edit, archive or restore changes it. */
  readonly salt: string;
  readonly updatedAt: number;
}

/** 128 random bits without a dot: `salt.value` is what is hashed. */
export function generateSalt(): string {
  return randomBytes(16).toString('base64url');
}

/** Off, serving the off variation; ready to serve the first variation once it is turned on. */
export function defaultTargeting(variations: readonly Variation[]): Targeting {
  const first = variations[0]?.key ?? '';
  const off = defaultOffVariation(variations)?.key ?? '';
  return { on: false, offVariation: off, prerequisites: [], targets: [], rules: [], fallthrough: { variation: first } };
}

/** What an environment serves while it is off, unless it is told otherwise: `off`, else the last. */
export function defaultOffVariation<Known extends { readonly key: string }>(
  variations: readonly Known[],
): Known | undefined {
  return variations.find(({ key }) => key === 'off') ?? variations[variations.length - 1];
}

/** What evaluators need of a flag in one environment. */
export function flagDefinitionOf(flag: FlagRecord, { targeting, salt }: TargetingRecord): FlagDefinition {
  return {
    kind: 'flag',
    key: flag.key,
    type: flag.type,
    clientSide: flag.clientSide,
    variations: flag.variations.map(({ key, value }) => ({ key, value })),
    on: targeting.on,
    offVariation: targeting.offVariation,
    prerequisites: targeting.prerequisites,
    targets: targeting.targets,
    rules: targeting.rules.map(({ id, when, serve }) => ({ id, when, serve })),
    fallthrough: targeting.fallthrough,
    salt,
    requires: [],
  };
}
