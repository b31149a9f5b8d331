import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { findImportViolations } from '@guidon/scripts/check-imports.js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'guidon-imports-'));
  plant(
    'engine/package.json',
    JSON.stringify({ dependencies: { '@guidon/protocol': '0', '@guidon/server': '0', re2js: '0' } }),
  );
  plant(
    'server/package.json',
    JSON.stringify({ dependencies: { '@guidon/engine': '0', '@guidon/control-plane': '0' } }),
  );
  plant('cli/package.json', JSON.stringify({ dependencies: { '@guidon/server': '0' } }));
});
afterEach(() => rmSync(root, { recursive: true }));

function plant(path: string, source: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), source);
}

describe('findImportViolations()', () => {
  it('passes a tree that keeps the direction', () => {
    plant(
      'engine/a.ts',
      "import type { Json } from '@guidon/protocol';\nimport './b.js';\nimport { readFileSync } from 'node:fs';",
    );
    plant('engine/b.ts', 'export const b = 1;');
    plant('cli/run/dev.ts', "await import('@guidon/server');");
    expect(findImportViolations(root)).toEqual([]);
  });

  it('lets a package inside a workspace, and nobody else, name what it declares', () => {
    plant('bench/package.json', JSON.stringify({ dependencies: { own: '0' } }));
    plant('bench/peers/package.json', JSON.stringify({ dependencies: { peer: '0' } }));
    plant('bench/peers/a.ts', "import 'peer';\nimport type { X } from '../b.js';");
    plant('bench/b.ts', "import 'own';");
    expect(findImportViolations(root)).toEqual([]);
    plant('bench/peers/a.ts', "import 'own';");
    plant('bench/b.ts', "import 'peer';");
    expect(findImportViolations(root).sort()).toEqual([
      "bench/b.ts: 'peer' is not a dependency of bench/package.json",
      "bench/peers/a.ts: 'own' is not a dependency of bench/peers/package.json",
    ]);
  });

  it.each([
    ['engine/a.ts', "import '@guidon/server';", "engine/a.ts: engine may not import '@guidon/server'"],
    ['engine/a.ts', "import type { X } from '@guidon/server';", "engine/a.ts: engine may not import '@guidon/server'"],
    ['engine/a.ts', "export * from '@guidon/server';", "engine/a.ts: engine may not import '@guidon/server'"],
    ['engine/a.ts', "await import('@guidon/server');", "engine/a.ts: engine may not import '@guidon/server'"],
    ['server/a.ts', "import '@guidon/control-plane';", "server/a.ts: server may not import '@guidon/control-plane'"],
    ['cli/flags.ts', "import '@guidon/server';", "cli/flags.ts: cli may not import '@guidon/server'"],
    [
      'server/a.ts',
      "import '@guidon/engine/x.js';",
      "server/a.ts: '@guidon/engine/x.js': import the package, not a file of it",
    ],
    ['server/a.ts', "import '../engine/x.js';", "server/a.ts: '../engine/x.js' leaves server; import its package"],
    [
      'sdk/react/a.tsx',
      "import '../core/x.js';",
      "sdk/react/a.tsx: '../core/x.js' leaves sdk/react; import its package",
    ],
    ['server/a.ts', "import 'lmdb';", "server/a.ts: 'lmdb' is not a dependency of server/package.json"],
    ['engine/a.ts', "import 'uWebSockets.js';", "engine/a.ts: 'uWebSockets.js' may be named in server alone"],
  ])('names %s with %s', (path, source, violation) => {
    plant(path, source);
    expect(findImportViolations(root)).toEqual([violation]);
  });

  it('names a cycle, type-only imports included', () => {
    plant('engine/a.ts', "import type { B } from './b.js';\nexport type A = B;");
    plant('engine/b.ts', "import type { A } from './a.js';\nexport type B = A;");
    expect(findImportViolations(root)).toEqual(['import cycle: engine/a.ts -> engine/b.ts -> engine/a.ts']);
  });
});
