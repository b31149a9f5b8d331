import {
  type Definition,
  definitionKey,
  encodeDefinition,
  type FlagDefinition,
  type FlagSet,
  type SegmentDefinition,
  type SegmentKeysDefinition,
} from '@guidon/engine';

/** The one place where commit/ names the engine: what is written, and under which name. The compiler is asked through the pool. */
export {
  type Definition,
  definitionKey,
  encodeDefinition,
  type FlagDefinition,
  type FlagSet,
  type SegmentDefinition,
  type SegmentKeysDefinition,
};
