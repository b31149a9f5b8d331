import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { bundleBytes, gzipBytes } from '../support/bundle.js';

const KILOBYTE = 1_000;

/** What a page loads of each package, minified, `gzip -9`, with what it imports of ours. */
const BUDGETS: readonly (readonly [source: string, external: readonly (string | RegExp)[], bytesMax: number])[] = [
  ["export { createBrowserClient } from '@guidon/browser-sdk'", [], 8 * KILOBYTE],
  ["export * from '@guidon/react'", [/^react/, '@guidon/browser-sdk'], 2 * KILOBYTE],
];

it.each(BUDGETS)('%s stays within its budget', async (source, external, bytesMax) => {
  const bytes = await bundleBytes(source, external);
  console.log(`${source}: ${bytes} bytes of ${bytesMax}`);
  expect(bytes).toBeGreaterThan(200);
  expect(bytes).toBeLessThanOrEqual(bytesMax);
});

it('the kernel stays within its budget', () => {
  const bytes = gzipBytes(readFileSync(new URL('../../assembly/dist/kernel.wasm', import.meta.url)));
  console.log(`kernel: ${bytes} bytes of ${30 * KILOBYTE}`);
  expect(bytes).toBeLessThanOrEqual(30 * KILOBYTE);
});
