import type { FlagType } from '@guidon/engine';
import { type Json, PlatformError } from '@guidon/protocol';
import { z } from 'zod';
import { descriptionSchema, keySchema, nameSchema } from '../admin-api/params.js';
import type { FlagCreate } from '../flags/flag-input.js';
import { defaultOffVariation, type FlagRecord } from '../flags/flag-record.js';
import type { FlagView } from '../flags/flag-view.js';

/** `float` is what the command line of OpenFeature calls a number that is no integer; its API's description does not list it. */
export const MANIFEST_TYPES = ['boolean', 'string', 'integer', 'float', 'object'] as const;
type ManifestType = (typeof MANIFEST_TYPES)[number];

const defaultValueSchema = z.unknown().meta({ description: 'A value of the flag’s type', examples: [false] });

export const manifestFlagSchema = z
  .object({
    key: z.string(),
    name: z.string(),
    type: z.enum(MANIFEST_TYPES),
    description: z.string(),
    defaultValue: defaultValueSchema.describe(
      'What is served where the flag is off, unless an environment says otherwise',
    ),
  })
  .meta({ id: 'ManifestFlag' });
export type ManifestFlag = z.infer<typeof manifestFlagSchema>;

const members = {
  key: keySchema,
  type: z.enum(MANIFEST_TYPES),
  name: nameSchema.optional(),
  description: descriptionSchema.nullish(),
};

export const manifestCreateSchema = z
  .strictObject({ ...members, defaultValue: defaultValueSchema })
  .refine(({ defaultValue }) => defaultValue !== undefined, { path: ['defaultValue'], message: 'is required' });
export type ManifestCreate = z.infer<typeof manifestCreateSchema>;

export const manifestUpdateSchema = z.strictObject({ ...members, defaultValue: defaultValueSchema.optional() });
export type ManifestUpdate = z.infer<typeof manifestUpdateSchema>;

const FLAG_TYPES: Readonly<Record<ManifestType, FlagType>> = {
  boolean: 'boolean',
  string: 'string',
  integer: 'number',
  float: 'number',
  object: 'json',
};

export function manifestFlagOf({ key, name, type, description, variations }: FlagView): ManifestFlag {
  const defaultValue = defaultOffVariation(variations)?.value;
  return { key, name, type: manifestTypeOf(type, variations), description, defaultValue };
}

function manifestTypeOf(type: FlagType, variations: FlagView['variations']): ManifestType {
  if (type === 'number') return variations.every(({ value }) => Number.isInteger(value)) ? 'integer' : 'float';
  return type === 'json' ? 'object' : type;
}

/** A new flag: its variations are such that what is served while it is off is the manifest's default. */
export function flagCreateOf({ key, type, name, description, defaultValue }: ManifestCreate): FlagCreate {
  return {
    key,
    type: FLAG_TYPES[type],
    ...(name === undefined ? {} : { name }),
    description: description ?? '',
    variations: variationsOf(type, defaultValue),
  };
}

function variationsOf(type: ManifestType, defaultValue: unknown): NonNullable<FlagCreate['variations']> {
  if (type !== 'boolean') {
    assertOfType(type, defaultValue);
    return [{ key: 'default', value: defaultValue }];
  }
  assertOfType(type, defaultValue);
  const [on, off] = [
    { key: 'on', value: true },
    { key: 'off', value: false },
  ];
  // `off` would be served while the flag is off, so the two are called something else.
  return defaultValue === true
    ? [
        { ...off, key: 'false' },
        { ...on, key: 'true' },
      ]
    : [on, off];
}

/** The members of a flag that an update of its manifest replaces. Throws `conflict` for another type. */
export function flagPatchOf(flag: FlagRecord, { type, name, description, defaultValue }: ManifestUpdate): Json {
  if (FLAG_TYPES[type] !== flag.type) {
    throw new PlatformError('conflict', `the type of a flag cannot be changed: it is ${flag.type}`);
  }
  return {
    ...(name === undefined ? {} : { name }),
    ...(description === undefined ? {} : { description: description ?? '' }),
    ...(defaultValue === undefined ? {} : variationsWith(flag, type, defaultValue)),
  };
}

function variationsWith({ variations }: FlagRecord, type: ManifestType, value: unknown): { [name: string]: Json } {
  assertOfType(type, value);
  const before = defaultOffVariation(variations);
  if (JSON.stringify(before?.value) === JSON.stringify(value)) return {};
  if (type === 'boolean') {
    throw new PlatformError(
      'conflict',
      'what a boolean flag serves while it is off is up to each environment’s targeting',
    );
  }
  return {
    variations: variations.map((variation): Json => {
      const { name, key } = variation;
      const changed = variation === before ? (value as Json) : variation.value;
      return { key, value: changed, ...(name === undefined ? {} : { name }) };
    }),
  };
}

function assertOfType(type: ManifestType, value: unknown): void {
  const isOfType =
    type === 'integer'
      ? Number.isSafeInteger(value)
      : type === 'float'
        ? typeof value === 'number'
        : type === 'object'
          ? typeof value === 'object' && value !== null
          : typeof value === type;
  if (isOfType) return;
  const detail = `must be of type ${type}`;
  throw new PlatformError('validation-failed', `defaultValue ${detail}`, {
    issues: [{ pointer: '/defaultValue', code: 'validation-failed', detail }],
  });
}
