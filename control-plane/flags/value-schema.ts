import type { Issue, Json, JsonObject } from '@guidon/protocol';

/**
 * The subset of JSON Schema 2020-12 that a flag of type `json` may give as `valueSchema`. It is interpreted: a library that
 * compiles schemas to code must never see one that a tenant wrote. A keyword outside this table is refused, not ignored, so that
 * nobody trusts a check that does not happen.
 *
 *   any value   type (one name or a list), enum, const
 *   object      properties, required, additionalProperties (boolean or schema)
 *   array       items, minItems, maxItems
 *   string      minLength, maxLength (Unicode code points)
 *   number      minimum, maximum
 *   annotation  title, description (not checked against anything)
 *
 * As in JSON Schema a keyword says nothing about values of another type: `{maxLength: 3}` accepts every number.
 * Each node of a value meets exactly one node of the schema, so a check is linear in the value, times the length of an `enum`.
 */
export interface ValueSchema {
  readonly type?: TypeName | readonly TypeName[];
  readonly enum?: readonly Json[];
  readonly const?: Json;
  readonly properties?: Readonly<Record<string, ValueSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | ValueSchema;
  readonly items?: ValueSchema;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly title?: string;
  readonly description?: string;
}

const TYPE_NAMES = ['object', 'array', 'string', 'number', 'integer', 'boolean', 'null'] as const;
type TypeName = (typeof TYPE_NAMES)[number];

export const VALUE_SCHEMA_BYTES_MAX = 32 * 1024;
const SCHEMA_DEPTH_MAX = 16;
const ENUM_COUNT_MAX = 256;
/** Of one check: nobody reads more, and a hostile value may break a rule at each of its elements. */
const ISSUE_COUNT_MAX = 100;

/** Everything wrong with `schema` as a schema; empty when `checkValue` may be called with it. */
export function checkValueSchema(schema: Json, pointer: string): Issue[] {
  if (Buffer.byteLength(JSON.stringify(schema)) > VALUE_SCHEMA_BYTES_MAX) {
    return [
      { pointer, code: 'limit-exceeded', detail: `a valueSchema has at most ${VALUE_SCHEMA_BYTES_MAX} JSON bytes` },
    ];
  }
  const report = new Report();
  checkSchemaNode(schema, pointer, 1, report);
  return report.issues;
}

/** Everything about `value` that `schema`, which `checkValueSchema` accepted, does not allow. */
export function checkValue(schema: ValueSchema, value: Json, pointer: string): Issue[] {
  const report = new Report();
  checkNode(schema, value, pointer, report);
  return report.issues;
}

/** Equal as JSON: the order of members does not count, 0 and -0 are one number. */
export function isJsonEqual(a: Json, b: Json): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (isArray(a) || isArray(b)) {
    if (!isArray(a) || !isArray(b) || a.length !== b.length) return false;
    return a.every((element, index) => isJsonEqual(element, b[index] ?? null));
  }
  const names = Object.keys(a);
  if (names.length !== Object.keys(b).length) return false;
  return names.every((name) => Object.hasOwn(b, name) && isJsonEqual(a[name] ?? null, b[name] ?? null));
}

class Report {
  readonly issues: Issue[] = [];

  add(pointer: string, detail: string): void {
    if (this.issues.length < ISSUE_COUNT_MAX) this.issues.push({ pointer, code: 'validation-failed', detail });
  }
}

type KeywordCheck = (value: Json, pointer: string, depth: number, report: Report) => void;

const isCount = (value: Json): boolean => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
const isText = (value: Json): boolean => typeof value === 'string';
const isFiniteNumber = (value: Json): boolean => typeof value === 'number' && Number.isFinite(value);

function mustBe(test: (value: Json) => boolean, what: string): KeywordCheck {
  return (value, pointer, _depth, report) => {
    if (!test(value)) report.add(pointer, `must be ${what}`);
  };
}

const KEYWORDS: ReadonlyMap<string, KeywordCheck> = new Map<string, KeywordCheck>([
  ['type', mustBe(isTypes, `one of ${TYPE_NAMES.join(', ')}, or a list of them without repeats`)],
  [
    'enum',
    mustBe((value) => isArray(value) && value.length <= ENUM_COUNT_MAX, `an array of at most ${ENUM_COUNT_MAX} values`),
  ],
  ['const', () => {}],
  ['properties', checkProperties],
  ['required', mustBe((value) => isArray(value) && value.every(isText), 'an array of names')],
  [
    'additionalProperties',
    (value, pointer, depth, report) => {
      if (typeof value !== 'boolean') checkSchemaNode(value, pointer, depth + 1, report);
    },
  ],
  ['items', (value, pointer, depth, report) => checkSchemaNode(value, pointer, depth + 1, report)],
  ['minItems', mustBe(isCount, 'a whole number')],
  ['maxItems', mustBe(isCount, 'a whole number')],
  ['minLength', mustBe(isCount, 'a whole number')],
  ['maxLength', mustBe(isCount, 'a whole number')],
  ['minimum', mustBe(isFiniteNumber, 'a number')],
  ['maximum', mustBe(isFiniteNumber, 'a number')],
  ['title', mustBe(isText, 'a string')],
  ['description', mustBe(isText, 'a string')],
]);

function checkSchemaNode(schema: Json, pointer: string, depth: number, report: Report): void {
  if (!isObject(schema)) {
    report.add(pointer, 'a schema is an object');
    return;
  }
  if (depth > SCHEMA_DEPTH_MAX) {
    report.add(pointer, `schemas nest at most ${SCHEMA_DEPTH_MAX} deep`);
    return;
  }
  for (const [name, value] of Object.entries(schema)) {
    const at = pointerTo(pointer, name);
    const check = KEYWORDS.get(name);
    if (check === undefined) report.add(at, `the keyword is not supported; known: ${[...KEYWORDS.keys()].join(', ')}`);
    else check(value, at, depth, report);
  }
}

function checkProperties(value: Json, pointer: string, depth: number, report: Report): void {
  if (!isObject(value)) {
    report.add(pointer, 'must be an object of schemas');
    return;
  }
  for (const [name, property] of Object.entries(value)) {
    checkSchemaNode(property, pointerTo(pointer, name), depth + 1, report);
  }
}

function isTypes(value: Json): boolean {
  const names: readonly Json[] = isArray(value) ? value : [value];
  return (
    names.length > 0 &&
    new Set(names).size === names.length &&
    names.every((name) => TYPE_NAMES.some((t) => t === name))
  );
}

function checkNode(schema: ValueSchema, value: Json, pointer: string, report: Report): void {
  if (schema.type !== undefined) {
    const types = typeof schema.type === 'string' ? [schema.type] : schema.type;
    if (!types.some((type) => isOfType(value, type))) {
      report.add(pointer, `must be ${types.join(' or ')}`);
      return;
    }
  }
  if (schema.enum !== undefined && !schema.enum.some((allowed) => isJsonEqual(allowed, value))) {
    report.add(pointer, 'is not one of the values of `enum`');
  }
  if (schema.const !== undefined && !isJsonEqual(schema.const, value))
    report.add(pointer, 'is not the value of `const`');
  if (typeof value === 'string') checkText(schema, value, pointer, report);
  else if (typeof value === 'number') checkNumber(schema, value, pointer, report);
  else if (isArray(value)) checkArray(schema, value, pointer, report);
  else if (isObject(value)) checkObject(schema, value, pointer, report);
}

function isOfType(value: Json, type: TypeName): boolean {
  if (type === 'null') return value === null;
  if (type === 'array') return isArray(value);
  if (type === 'object') return isObject(value);
  if (type === 'integer') return Number.isInteger(value);
  return typeof value === type;
}

function checkText(schema: ValueSchema, value: string, pointer: string, report: Report): void {
  if (schema.minLength === undefined && schema.maxLength === undefined) return;
  const count = Array.from(value).length;
  checkRange(count, schema.minLength, schema.maxLength, 'characters', pointer, report);
}

function checkNumber(schema: ValueSchema, value: number, pointer: string, report: Report): void {
  if (schema.minimum !== undefined && value < schema.minimum) report.add(pointer, `must be >= ${schema.minimum}`);
  if (schema.maximum !== undefined && value > schema.maximum) report.add(pointer, `must be <= ${schema.maximum}`);
}

function checkArray(schema: ValueSchema, value: readonly Json[], pointer: string, report: Report): void {
  checkRange(value.length, schema.minItems, schema.maxItems, 'elements', pointer, report);
  if (schema.items === undefined) return;
  for (const [index, element] of value.entries()) checkNode(schema.items, element, pointerTo(pointer, index), report);
}

function checkObject(schema: ValueSchema, value: JsonObject, pointer: string, report: Report): void {
  for (const name of schema.required ?? []) {
    if (!Object.hasOwn(value, name)) report.add(pointerTo(pointer, name), 'is required');
  }
  for (const [name, member] of Object.entries(value)) {
    const at = pointerTo(pointer, name);
    const { properties, additionalProperties } = schema;
    const own = properties !== undefined && Object.hasOwn(properties, name) ? properties[name] : undefined;
    if (own !== undefined) checkNode(own, member, at, report);
    else if (additionalProperties === false) report.add(at, 'is not a member that the schema names');
    else if (typeof additionalProperties === 'object') checkNode(additionalProperties, member, at, report);
  }
}

function checkRange(
  count: number,
  min: number | undefined,
  max: number | undefined,
  unit: string,
  pointer: string,
  report: Report,
): void {
  if (min !== undefined && count < min) report.add(pointer, `must have at least ${min} ${unit}`);
  if (max !== undefined && count > max) report.add(pointer, `must have at most ${max} ${unit}`);
}

function isArray(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

function isObject(value: Json): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function pointerTo(pointer: string, name: string | number): string {
  return `${pointer}/${String(name).slice(0, 128).replaceAll('~', '~0').replaceAll('/', '~1')}`;
}
