import { type Json, PlatformError } from '@guidon/protocol';
import { type FlagDefinition, isServable, type Prerequisite, type Serve } from '../flag-model/definitions.js';
import { compileCondition } from './compile-condition.js';
import { writeStringSet } from './compile-operand.js';
import { compileRollout } from './compile-rollout.js';
import { type CompiledUnit, finishUnit, referencesOf } from './compiled-unit.js';
import { writeMsgpack, writeString } from './encode-msgpack.js';
import { FLAG, FLAG_BIT, FLAG_MAGIC, FRAGMENT, MEMBERS, RULE, TARGET } from './layout.js';
import { nameHash } from './name-hash.js';
import type { UnitBuilder } from './unit-builder.js';

/** Looking for the targeting key in the keys of one target; see condition-cost.ts for the unit. */
const TARGET_COST = 2;

export interface CompiledFlag extends CompiledUnit {
  readonly definition: FlagDefinition;
  readonly keyHash: number;
  /** None when it is not served. */
  readonly variationKeys: readonly string[];
  readonly prerequisites: readonly Prerequisite[];
  /** Of the longest run of members that a variation adds to an answer. */
  readonly variationBytesMax: number;
}

/**
 * Compiles one flag to its block. Throws PlatformError when the definition contradicts itself. A flag that requires what this
 * evaluator lacks is only named: whatever else it says may mean something else there.
 */
export function compileFlag(builder: UnitBuilder, definition: FlagDefinition): CompiledFlag {
  const { writer } = builder;
  const flag = writer.reserve(FLAG.bytes);
  const isServed = isServable(definition);
  const variationKeys = isServed ? definition.variations.map((variation) => variation.key) : [];
  writer.u32(flag + FLAG.magic, FLAG_MAGIC);
  writer.u8(flag + FLAG.bits, bitsOf(definition));
  // The key stands behind the header, which is read with it when a flag is looked up.
  const key = writer.text(definition.key);
  writer.u32(flag + FLAG.keyOffset, key);
  writer.u32(flag + FLAG.keyBytes, writer.length - key);
  const variationBytesMax = isServed ? writeDecisions(builder, definition, variationKeys) : 0;
  writer.u32(flag + FLAG.patternCount, builder.patterns.length);
  writer.u32(flag + FLAG.patterns, builder.textTable(builder.patterns));
  writer.u32(flag + FLAG.slotRefCount, builder.slots.length);
  writer.u32(flag + FLAG.segmentRefCount, builder.segments.length);
  const unit = finishUnit(writer, flag + FLAG.totalBytes, referencesOf(builder));
  const keyHash = nameHash(unit.block.subarray(key, key + definition.key.length));
  const prerequisites = isServed ? definition.prerequisites : [];
  return { ...unit, definition, keyHash, variationKeys, prerequisites, variationBytesMax };
}

/** Returns the bytes of the longest variation. */
function writeDecisions(builder: UnitBuilder, definition: FlagDefinition, variationKeys: readonly string[]): number {
  const { writer } = builder;
  const variationIndex = (key: string): number => mustFindVariation(variationKeys, key);
  writer.u8(FLAG.variationCount, variationKeys.length);
  writer.u8(FLAG.offVariation, variationIndex(definition.offVariation));
  writeTargets(builder, definition, variationIndex);
  writeRules(builder, definition, variationIndex);
  const fallthrough = writeServe(builder, definition, definition.fallthrough, variationIndex);
  writer.u32(FLAG.fallthroughRollout, fallthrough.rollout);
  writer.u32(FLAG.fallthroughVariation, fallthrough.variation);
  writePrerequisites(builder, definition);
  return writeVariations(builder, definition);
}

function bitsOf(definition: FlagDefinition): number {
  const isPlain =
    definition.rules.length === 0 && definition.targets.length === 0 && definition.prerequisites.length === 0;
  return (
    (definition.on ? FLAG_BIT.on : 0) |
    (definition.clientSide ? FLAG_BIT.clientSide : 0) |
    (isServable(definition) ? 0 : FLAG_BIT.unserved) |
    (isPlain ? FLAG_BIT.static : 0)
  );
}

function mustFindVariation(keys: readonly string[], key: string): number {
  const index = keys.indexOf(key);
  if (index < 0) throw new PlatformError('dangling-reference', `no variation '${key}'`);
  return index;
}

function writeTargets(
  builder: UnitBuilder,
  { targets }: FlagDefinition,
  variationIndex: (key: string) => number,
): void {
  const { writer } = builder;
  builder.cost.fixed += targets.length * TARGET_COST;
  const table = targets.length === 0 ? 0 : writer.reserve(targets.length * TARGET.bytes);
  for (const [index, target] of targets.entries()) {
    const record = table + index * TARGET.bytes;
    writer.u32(record + TARGET.targetingKey, builder.slotRef(target.contextKind, ['targetingKey']));
    writer.u32(record + TARGET.variation, variationIndex(target.variation));
    writer.u32(record + TARGET.keys, writeStringSet(writer, target.keys));
  }
  writer.u32(FLAG.targets, table);
  writer.u32(FLAG.targetCount, targets.length);
}

function writeRules(builder: UnitBuilder, definition: FlagDefinition, variationIndex: (key: string) => number): void {
  const { writer } = builder;
  const { rules } = definition;
  const table = rules.length === 0 ? 0 : writer.reserve(rules.length * RULE.bytes);
  for (const [index, rule] of rules.entries()) {
    const record = table + index * RULE.bytes;
    const condition = compileCondition(builder, rule.when);
    writer.u32(record + RULE.nodes, condition.nodes);
    writer.u16(record + RULE.nodeCount, condition.nodeCount);
    writer.u16(record + RULE.entry, condition.entry);
    const serve = writeServe(builder, definition, rule.serve, variationIndex);
    writer.u32(record + RULE.rollout, serve.rollout);
    writer.u32(record + RULE.variation, serve.variation);
    writeMembers(builder, record + RULE.id, { ruleId: rule.id });
  }
  writer.u32(FLAG.rules, table);
  writer.u32(FLAG.ruleCount, rules.length);
}

function writeServe(
  builder: UnitBuilder,
  definition: FlagDefinition,
  serve: Serve,
  variationIndex: (key: string) => number,
): { rollout: number; variation: number } {
  if ('variation' in serve) return { rollout: 0, variation: variationIndex(serve.variation) };
  return { rollout: compileRollout(builder, serve.rollout, definition.salt, variationIndex), variation: 0 };
}

function writePrerequisites(builder: UnitBuilder, { prerequisites }: FlagDefinition): void {
  const { writer } = builder;
  const table = prerequisites.length === 0 ? 0 : writer.reserve(prerequisites.length * MEMBERS.bytes);
  for (const [index, { flag }] of prerequisites.entries()) {
    writeMembers(builder, table + index * MEMBERS.bytes, { prerequisite: flag });
  }
  writer.u32(FLAG.prerequisites, table);
  writer.u32(FLAG.prerequisiteCount, prerequisites.length);
}

/** Returns the bytes of the longest one in the format that takes more. */
function writeVariations(builder: UnitBuilder, { key, variations }: FlagDefinition): number {
  const { writer } = builder;
  let bytesMax = 0;
  const table = writer.reserve(variations.length * MEMBERS.bytes);
  for (const [index, variation] of variations.entries()) {
    const members = { flag: key, value: variation.value, variation: variation.key };
    bytesMax = Math.max(bytesMax, writeMembers(builder, table + index * MEMBERS.bytes, members));
  }
  writer.u32(FLAG.variations, table);
  return bytesMax;
}

/** Appends one run of bytes per format and puts them into the MEMBERS at `record`. Returns the bytes of the longer one. */
function writeMembers(builder: UnitBuilder, record: number, members: Readonly<Record<string, Json>>): number {
  const { writer } = builder;
  const msgpack = writer.length;
  for (const [name, value] of Object.entries(members)) {
    writeString(writer, name);
    writeMsgpack(writer, value);
  }
  writeFragment(builder, record + MEMBERS.msgpack, msgpack);
  const json = writer.text(`${JSON.stringify(members).slice(1, -1)},`);
  writeFragment(builder, record + MEMBERS.json, json);
  return Math.max(json - msgpack, writer.length - json);
}

function writeFragment(builder: UnitBuilder, fragment: number, offset: number): void {
  builder.writer.u32(fragment + FRAGMENT.offset, offset);
  builder.writer.u32(fragment + FRAGMENT.length, builder.writer.length - offset);
}
