export { CompilePool, type CompilePoolOptions } from './compile-pool.js';
export type {
  CompileAnswer,
  CompiledAnswer,
  CompileRequest,
  DefinitionEntry,
  DefinitionName,
  ExplainAnswer,
  ExplainRequest,
  ReplayAnswer,
  ReplayRequest,
  ReplayStep,
  TryAnswer,
} from './compile-task.js';
export {
  EvaluationPool,
  type EvaluationPoolOptions,
  type OpenedRequest,
  type PooledAnswer,
  type PooledRequest,
} from './evaluation-pool.js';
