import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { LAYOUT_HASH } from '../compile/layout.js';
import './webassembly-types.js';

/** What the kernel exports. Addresses are byte offsets in its memory. */
export interface KernelExports {
  layoutHash(): number;
  heapBase(): number;
  /** Bytes of the answer, or a STATUS below 0. `costMax`: work that is admitted, 0 = any. */
  evaluate(thread: number, root: number, requestBytes: number, options: number, now: number, costMax: number): number;
}

export interface KernelImports {
  readonly memory: WebAssembly.Memory;
  /** 1 when a pattern of a block is found in a run of UTF-8. */
  readonly findPattern: (block: number, pattern: number, input: number, inputBytes: number) => number;
  /** The double that a number of a JSON request stands for; asked for the few that take more than one rounding. */
  readonly parseNumber: (at: number, byteCount: number) => number;
}

let compiled: Promise<WebAssembly.Module> | undefined;

/** The kernel's module, compiled once per process. */
export function kernelModule(): Promise<WebAssembly.Module> {
  compiled ??= readFile(fileURLToPath(import.meta.resolve('@guidon/assembly/kernel.wasm'))).then((bytes) =>
    WebAssembly.compile(bytes),
  );
  return compiled;
}

/** A new instance; its constant data is written again, which changes nothing. */
export function instantiateKernel(module: WebAssembly.Module, imports: KernelImports): KernelExports {
  const { memory, findPattern, parseNumber } = imports;
  const { exports } = new WebAssembly.Instance(module, { env: { memory }, guidon: { findPattern, parseNumber } });
  const { layoutHash, heapBase, evaluate } = exports as Partial<KernelExports>;
  assert(layoutHash && heapBase && evaluate, 'the kernel exports what the host calls');
  const hash = layoutHash() >>> 0;
  assert(hash === LAYOUT_HASH, 'the kernel was built from another layout: run the build again');
  return { layoutHash, heapBase, evaluate };
}
