/**
 * Limits of the flag model. The control plane refuses a write over one (422 `limit-exceeded`); a node refuses a revision over
 * one and keeps its last good snapshot (I11). Both read these same constants.
 */
export const LIMITS = {
  flagsPerEnvironment: 5_000,
  variationsPerFlag: 64,
  rulesPerFlag: 200,
  /** Clauses (leaves) in one rule's condition tree. */
  clausesPerRule: 50,
  /** All nodes of one rule's condition tree: groups, negations and clauses. */
  conditionNodesPerRule: 256,
  /** A clause has depth 1, each all/any/not adds 1. */
  conditionDepth: 8,
  valuesPerClause: 10_000,
  /** Of one flag, or of one segment. */
  regexClausesPerFlag: 20,
  /** Patterns of all regex clauses of one flag (or segment) together: each is compiled when written and when loaded. */
  regexPatternsPerFlag: 200,
  /** UTF-16 units of one pattern. */
  regexPatternUnits: 256,
  /** UTF-8 bytes of the input that a pattern sees. */
  regexInputBytes: 1_024,
  targetsPerFlag: 256,
  /** Keys of all individual targets of one flag and environment together. */
  targetKeysPerFlag: 10_000,
  prerequisitesPerFlag: 32,
  /** Edges from the asked flag (or segment) to the deepest one. */
  referenceDepth: 16,
  rolloutWeights: 64,
  seedChars: 128,
  /** UTF-8 bytes of an attribute path, a context kind or a string value of a clause: what is longer than a context never matches. */
  clauseStringBytes: 32 * 1024,
  /** Features that one definition may require. */
  requiresPerDefinition: 32,
  segmentsPerEnvironment: 5_000,
  /** Different attributes, context kinds and steps of attribute paths that all flags and segments together ask for. */
  slotsPerEnvironment: 20_000,
  segmentRules: 200,
  segmentsPerClause: 100,
  segmentKeys: 1_000_000,
  keysPerSegmentChunk: 4_096,
  /** UTF-8 bytes of one targeting key in a segment list or target. */
  targetingKeyBytes: 512,
  /** JSON bytes of one variation value, and of all values of one flag together. */
  valueBytes: 64 * 1024,
  flagValueBytes: 256 * 1024,
  valueDepth: 32,
  snapshotBytes: 256 * 1024 * 1024,
  /** Of one context, as received. */
  contextBytes: 32 * 1024,
  contextDepth: 16,
  contextAttributes: 512,
} as const;

/** Weights of a rollout sum to this; bucket numbers run from 0 to one less. 1000 = 1 %. */
export const ROLLOUT_WEIGHT_TOTAL = 100_000;
/** What one flag's evaluation may cost before it answers ERROR/GENERAL. What costs how much stands in docs/evaluation.md. */
export const FLAG_FUEL = 100_000;
/** A step of a regular expression costs so many times what one of another operator does. */
export const REGEX_FUEL = 16;

/** Limits of the evaluate requests. */
export const REQUEST_LIMITS = {
  bodyBytes: 64 * 1024,
  batchBodyBytes: 4 * 1024 * 1024,
  evaluationsPerRequest: 10_000,
  /** Fuel of all evaluations of one request together. */
  fuelPerRequest: 2_000_000,
  answerBytes: 32 * 1024 * 1024,
  minRevisionWaitMs: 1_000,
} as const;

/** Limits of `POST /v1/events`. What is over one of an event refuses that event alone; what is over one of the batch refuses the batch. */
export const EVENT_LIMITS = {
  bodyBytes: 256 * 1024,
  eventsPerBatch: 1_000,
  /** Entries of one summary. */
  countsPerSummary: 1_000,
  /** UTF-16 units of flag keys as they were asked for, variations, metric keys, SDK names and versions. */
  nameChars: 256,
  /** UTF-8 bytes of a targeting key. */
  targetingKeyBytes: 512,
  contextKinds: 16,
  /** Of the `data` of a metric event: UTF-8 bytes of its JSON, and depth. */
  dataBytes: 4 * 1024,
  dataDepth: 8,
  /** Of one entry of a summary: more than a process answers between two flushes. */
  count: 1_000_000_000_000,
} as const;
