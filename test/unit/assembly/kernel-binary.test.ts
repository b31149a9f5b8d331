import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { LAYOUT_HASH } from '@guidon/engine';
import { STATUS, THREAD } from '@guidon/engine/compile/thread-layout.js';
import { describe, expect, it } from 'vitest';
import '@guidon/engine/wasm-host/webassembly-types.js';

const bytes = readFileSync(fileURLToPath(import.meta.resolve('@guidon/assembly/kernel.wasm')));

interface Section {
  readonly id: number;
  readonly body: Buffer;
}

/** LEB128. */
function readUnsigned(body: Buffer, at: number): { value: number; next: number } {
  let value = 0;
  for (let shift = 0, offset = at; ; shift += 7, offset += 1) {
    const byte = body[offset] ?? 0;
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return { value, next: offset + 1 };
  }
}

function sectionsOf(module: Buffer): Section[] {
  const sections: Section[] = [];
  for (let at = 8; at < module.length; ) {
    const { value: length, next } = readUnsigned(module, at + 1);
    sections.push({ id: module[at] ?? 0, body: module.subarray(next, next + length) });
    at = next + length;
  }
  return sections;
}

const SECTION = { import: 2, global: 6, export: 7, start: 8, data: 11 } as const;
const sections = sectionsOf(bytes);

async function instantiate(memory: WebAssembly.Memory): Promise<Record<string, (...args: number[]) => number>> {
  const module = await WebAssembly.compile(bytes);
  const instance = new WebAssembly.Instance(module, {
    env: { memory },
    guidon: { findPattern: () => 0, parseNumber: () => 0 },
  });
  return instance.exports as Record<string, (...args: number[]) => number>;
}

describe('kernel.wasm', () => {
  it('has no global of its own and nothing that runs at instantiation', () => {
    expect(sections.some((section) => section.id === SECTION.global)).toBe(false);
    expect(sections.some((section) => section.id === SECTION.start)).toBe(false);
  });

  it('imports its memory, the pattern search and the number parser, and exports three functions', async () => {
    const module = await WebAssembly.compile(bytes);
    expect(WebAssembly.Module.exports(module)).toEqual([
      { name: 'layoutHash', kind: 'function' },
      { name: 'heapBase', kind: 'function' },
      { name: 'evaluate', kind: 'function' },
    ]);
    const imports = sections.find((section) => section.id === SECTION.import)?.body.toString('latin1') ?? '';
    for (const name of ['env', 'memory', 'guidon', 'findPattern', 'parseNumber']) expect(imports).toContain(name);
    expect(imports).not.toContain('abort');
  });

  it('has only small, active data segments', () => {
    const body = sections.find((section) => section.id === SECTION.data)?.body;
    assert(body !== undefined, 'there are constants');
    const { value: count } = readUnsigned(body, 0);
    expect(count).toBeGreaterThan(0);
    expect(body.length).toBeLessThan(8 * 1024);
  });

  it('never writes to its constant data, so a new instance changes nothing for the others', async () => {
    const memory = new WebAssembly.Memory({ initial: 4, maximum: 4, shared: true });
    const kernel = await instantiate(memory);
    const heapBase = kernel.heapBase?.() ?? 0;
    expect((kernel.layoutHash?.() ?? 0) >>> 0).toBe(LAYOUT_HASH);
    const view = new Uint8Array(memory.buffer);
    const statics = Buffer.from(view.slice(0, heapBase));
    expect(statics.some((byte) => byte !== 0)).toBe(true);
    view[65_536] = 42;
    await instantiate(memory);
    expect(Buffer.compare(statics, Buffer.from(view.slice(0, heapBase)))).toBe(0);
    expect(view[65_536]).toBe(42);
  });

  it('asks for fresh stamps instead of letting them wrap around', async () => {
    const memory = new WebAssembly.Memory({ initial: 4, maximum: 4, shared: true });
    const kernel = await instantiate(memory);
    const thread = 65_536;
    new DataView(memory.buffer).setUint32(thread + THREAD.stamp, 0xfffffff0, true);
    expect(kernel.evaluate?.(thread, 131_072, 0, 0, 0)).toBe(-STATUS.stampsUsed);
  });
});
