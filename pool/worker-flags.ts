/**
 * Flags of Node for the threads of a pool, in the place of those that the process was started with.
 *
 * Piscina asks for a worker's module by require() first. Where Node would load an ES module so, it links it in one call that a thread must
 * not be ended in: Node 20 then aborts the whole process (`v8::Module::IsGraphAsync must be used on an instantiated module`). Without it
 * Piscina imports the module, which may be ended at any time.
 */
const WITHOUT_REQUIRED_MODULES = '--no-experimental-require-module';

/** Empty where Node does not know the flag. */
export const WORKER_FLAGS: readonly string[] = process.allowedNodeEnvironmentFlags.has(WITHOUT_REQUIRED_MODULES)
  ? [WITHOUT_REQUIRED_MODULES]
  : [];
