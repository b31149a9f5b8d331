/** The part of WebAssembly that the host uses: neither `lib: es2023` nor these Node types declare it. */
declare global {
  namespace WebAssembly {
    interface Module {
      readonly [Symbol.toStringTag]: string;
    }
    interface Instance {
      readonly exports: Readonly<Record<string, unknown>>;
    }
    class Memory {
      constructor(descriptor: { initial: number; maximum: number; shared: true });
      readonly buffer: SharedArrayBuffer;
      /** Pages before. Throws RangeError when there is no more. */
      grow(pageCount: number): number;
    }
    class RuntimeError extends Error {}
    const Module: { exports(module: Module): { name: string; kind: string }[] };
    const Instance: new (
      module: Module,
      imports: Readonly<Record<string, Readonly<Record<string, unknown>>>>,
    ) => Instance;
    function compile(bytes: Uint8Array): Promise<Module>;
  }
}

export const PAGE_BYTES = 65_536;
