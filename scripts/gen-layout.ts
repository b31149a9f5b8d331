import { writeFileSync } from 'node:fs';
import { renderAssemblyCaseFolding } from './render-assembly-case-folding.js';
import { renderAssemblyLayout } from './render-assembly-layout.js';

/** Writes what the kernel takes from the engine: its layout and its case folding. Run it after any change there (`npm run generate`). */
writeFileSync(new URL('../../assembly/layout.ts', import.meta.url), renderAssemblyLayout());
writeFileSync(new URL('../../assembly/case-folding.ts', import.meta.url), renderAssemblyCaseFolding());
