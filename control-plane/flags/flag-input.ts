import { type FlagType, parseTargeting, parseVariations, type Targeting } from '@guidon/engine';
import { type ErrorCode, type Issue, type Json, PlatformError } from '@guidon/protocol';
import { z } from 'zod';
import { descriptionSchema, keySchema, nameSchema } from '../admin-api/params.js';
import type { FlagRecord, NamedVariation } from './flag-record.js';
import { checkValue, checkValueSchema, type ValueSchema } from './value-schema.js';

export const tagsSchema = z
  .array(z.string().min(1).max(64))
  .max(64)
  .refine((tags) => new Set(tags).size === tags.length, 'a tag is given twice');

/** A JSON value. What it may be is checked where the flag's type is known. */
export const jsonSchema = z.unknown().meta({ description: 'Any JSON value', examples: [true] });

export const variationSchema = z
  .strictObject({ key: keySchema, name: nameSchema.optional(), value: jsonSchema })
  .meta({ id: 'Variation' });

/** The members of a flag that an edit may change: what PATCH applies to. */
export const flagEditSchema = z.strictObject({
  name: nameSchema,
  description: descriptionSchema,
  tags: tagsSchema,
  lifetime: z.enum(['temporary', 'permanent']),
  clientSide: z.boolean().describe('Visible to `web` credentials'),
  variations: z.array(variationSchema).describe('At least one, at most 64; a boolean flag has exactly two'),
  valueSchema: z
    .looseObject({})
    .optional()
    .describe('Only for type json: a subset of JSON Schema that every value must satisfy'),
});
export type FlagEdit = z.infer<typeof flagEditSchema>;

export const FLAG_TYPES = ['boolean', 'string', 'number', 'json'] as const satisfies readonly FlagType[];

export const flagCreateSchema = flagEditSchema.partial().extend({
  key: keySchema,
  type: z.enum(FLAG_TYPES),
  initialTargeting: z
    .record(keySchema, z.looseObject({}))
    .optional()
    .describe('Targeting by environment key; members left out keep their defaults'),
});
export type FlagCreate = z.infer<typeof flagCreateSchema>;

/** The parts of a flag that only the flag model can check. */
export interface CheckedValues {
  readonly variations: readonly NamedVariation[];
  readonly valueSchema: ValueSchema | null;
}

/** All issues of variations and schema at once. `input.variations` undefined is allowed for boolean flags only. */
export function checkValues(type: FlagType, input: Pick<FlagCreate, 'variations' | 'valueSchema'>): CheckedValues {
  const issues: Issue[] = [];
  const given = input.variations ?? (type === 'boolean' ? BOOLEAN_VARIATIONS : undefined);
  if (given === undefined) throw refusal([issueAt('/variations', `a ${type} flag needs its variations`)]);
  const parsed = parseVariations(
    given.map(({ key, value }) => ({ key, value })),
    type,
  );
  if (!parsed.ok) issues.push(...below('/variations', parsed.issues));
  const schema = (input.valueSchema as Json | undefined) ?? null;
  if (schema !== null) {
    if (type !== 'json') issues.push(issueAt('/valueSchema', 'only a flag of type json has one'));
    issues.push(...checkValueSchema(schema, '/valueSchema'));
  }
  if (!parsed.ok || issues.length > 0) throw refusal(issues);
  const valueSchema = schema as ValueSchema | null;
  if (valueSchema !== null) {
    const wrong = parsed.value.flatMap(({ value }, index) =>
      checkValue(valueSchema, value, `/variations/${index}/value`),
    );
    if (wrong.length > 0) throw refusal(wrong);
  }
  const variations = parsed.value.map((variation, index) => {
    const name = given[index]?.name;
    return name === undefined ? variation : { ...variation, name };
  });
  return { variations, valueSchema };
}

const BOOLEAN_VARIATIONS: FlagCreate['variations'] = [
  { key: 'on', value: true },
  { key: 'off', value: false },
];

/** The typed targeting, or one refusal with all issues below `pointer`. */
export function checkTargeting(
  value: unknown,
  flag: { readonly type: FlagType; readonly variations: readonly NamedVariation[] },
  pointer: string,
): Targeting {
  const parsed = parseTargeting(value, {
    type: flag.type,
    variations: flag.variations.map(({ key, value: variationValue }) => ({ key, value: variationValue })),
  });
  if (!parsed.ok) throw refusal(below(pointer, parsed.issues));
  return parsed.value;
}

export function below(pointer: string, issues: readonly Issue[]): Issue[] {
  return issues.map((issue) => ({ ...issue, pointer: `${pointer}${issue.pointer}` }));
}

/** Many things wrong are `validation-failed`, unless all of them are one and the same other thing. */
export function refusal(issues: readonly Issue[], detail?: string): PlatformError {
  const codes = new Set<ErrorCode>(issues.map(({ code }) => code));
  const [only] = codes;
  const code = codes.size === 1 && only !== undefined ? only : 'validation-failed';
  return new PlatformError(code, detail ?? issues[0]?.detail ?? 'the body is not valid', { issues });
}

function issueAt(pointer: string, detail: string): Issue {
  return { pointer, code: 'validation-failed', detail };
}

/** What PATCH applies to. */
export function editableOf({
  name,
  description,
  tags,
  lifetime,
  clientSide,
  variations,
  valueSchema,
}: FlagRecord): FlagEdit {
  return {
    name,
    description,
    tags: [...tags],
    lifetime,
    clientSide,
    variations: variations.map((variation) => ({ ...variation })),
    ...(valueSchema === null ? {} : { valueSchema: { ...valueSchema } }),
  };
}
