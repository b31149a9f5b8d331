import type { Json } from '@guidon/protocol';

/** What typegen needs of a flag, as the admin API shows it. */
export interface TypedFlag {
  readonly key: string;
  readonly type: string;
  readonly variations: readonly { readonly value: Json }[];
  readonly valueSchema?: Json;
}

const HEAD = `// Written by \`guidon typegen\`: run it again when flags change.
import type { Json } from '@guidon/sdk-core';

declare module '@guidon/sdk-core' {
  interface FlagTypes {
`;
const TAIL = `  }
}
`;
/** Deeper values are any JSON. */
const DEPTH_MAX = 8;
/** Of a string flag; more are any string. */
const LITERALS_MAX = 32;

/**
 * A module that adds the flags to the FlagTypes of the SDKs: asked for by another key, or with a default of another type, they are compile errors.
 * Same flags, same text, whatever their order.
 */
export function flagTypesText(flags: readonly TypedFlag[]): string {
  const lines = [...flags]
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map((flag) => `    readonly ${JSON.stringify(flag.key)}: ${typeOfFlag(flag)};\n`);
  return HEAD + lines.join('') + TAIL;
}

function typeOfFlag({ type, variations, valueSchema }: TypedFlag): string {
  if (type === 'boolean' || type === 'number') return type;
  const values = variations.map(({ value }) => value);
  if (type === 'string') return values.length > LITERALS_MAX ? 'string' : unionOf(values.map(literalOf));
  if (type !== 'json') return 'Json';
  return isObject(valueSchema) ? typeOfSchema(valueSchema, DEPTH_MAX) : typeOfValues(values, DEPTH_MAX);
}

/** The type that holds all of `values`, members that some objects lack being optional. */
function typeOfValues(values: readonly Json[], depth: number): string {
  if (values.length === 0 || depth === 0) return 'Json';
  const scalars = values.filter((value) => typeof value !== 'object' || value === null);
  const lists = values.filter((value): value is readonly Json[] => Array.isArray(value));
  const objects = values.filter(isObject);
  return unionOf([
    ...(objects.length === 0 ? [] : [typeOfObjects(objects, depth)]),
    ...(lists.length === 0 ? [] : [listOf(typeOfValues(lists.flat(), depth - 1))]),
    ...scalars.map((value) => (value === null ? 'null' : typeof value)),
  ]);
}

function typeOfObjects(objects: readonly JsonMembers[], depth: number): string {
  const names = [...new Set(objects.flatMap((value) => Object.keys(value)))].sort();
  const members = names.map((name) => {
    const having = objects.filter((value) => Object.hasOwn(value, name));
    const values = having.map((value) => value[name] ?? null);
    return memberOf(name, having.length === objects.length, typeOfValues(values, depth - 1));
  });
  return objectOf(members);
}

/** As far as JSON Schema says of types what TypeScript can. */
function typeOfSchema(schema: JsonMembers, depth: number): string {
  if (depth === 0) return 'Json';
  if (schema.const !== undefined) return typeOfLiteral(schema.const, depth);
  if (Array.isArray(schema.enum)) return unionOf(schema.enum.map((value: Json) => typeOfLiteral(value, depth)));
  const names = Array.isArray(schema.type) ? schema.type : [schema.type];
  return unionOf(names.map((name) => typeOfName(name, schema, depth)));
}

function typeOfLiteral(value: Json, depth: number): string {
  return typeof value === 'object' && value !== null ? typeOfValues([value], depth) : literalOf(value);
}

function typeOfName(name: unknown, schema: JsonMembers, depth: number): string {
  switch (name) {
    case 'string':
    case 'boolean':
    case 'null':
    case 'number':
      return name;
    case 'integer':
      return 'number';
    case 'array':
      return listOf(isObject(schema.items) ? typeOfSchema(schema.items, depth - 1) : 'Json');
    case 'object':
      return typeOfObjectSchema(schema, depth);
    default:
      return 'Json';
  }
}

function typeOfObjectSchema({ properties, required, additionalProperties }: JsonMembers, depth: number): string {
  const needed = new Set<unknown>(Array.isArray(required) ? required : []);
  const named = Object.entries(isObject(properties) ? properties : {}).map(([name, property]) =>
    memberOf(name, needed.has(name), isObject(property) ? typeOfSchema(property, depth - 1) : 'Json'),
  );
  // Without names it is a table; beside names a wider index would hide what they say.
  if (named.length > 0 || additionalProperties === false) return objectOf(named);
  const value = isObject(additionalProperties) ? typeOfSchema(additionalProperties, depth - 1) : 'Json';
  return `{ readonly [name: string]: ${value} }`;
}

interface JsonMembers {
  readonly [name: string]: Json;
}

function isObject(value: Json | undefined): value is JsonMembers {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const literalOf = (value: Json): string => JSON.stringify(value);
const listOf = (element: string): string => `readonly (${element})[]`;
const unionOf = (types: readonly string[]): string => (types.length === 0 ? 'Json' : [...new Set(types)].join(' | '));
const memberOf = (name: string, isThere: boolean, type: string): string =>
  `readonly ${JSON.stringify(name)}${isThere ? '' : '?'}: ${type}`;
const objectOf = (members: readonly string[]): string => (members.length === 0 ? '{}' : `{ ${members.join('; ')} }`);
