import { fileURLToPath } from 'node:url';
import { constants, gzipSync } from 'node:zlib';
import { type Plugin, rolldown } from 'rolldown';

export interface BundleOptions {
  /** In place of the file's own text: the file is then only where imports are resolved from. */
  readonly source?: string;
  /** Packages that stay imports. */
  readonly external?: readonly (string | RegExp)[];
  readonly isMinified?: boolean;
}

/** One ES module of `file`, a TypeScript file under test/, and everything it imports, as a page loads it. */
export async function bundle(file: string, options: BundleOptions = {}): Promise<string> {
  const { source, external = [], isMinified = false } = options;
  const input = fileURLToPath(new URL(`../${file}`, import.meta.url));
  const build = await rolldown({
    input,
    platform: 'browser',
    external: [...external],
    plugins: source === undefined ? [] : [entryPlugin(input, source)],
    transform: { define: { 'process.env.NODE_ENV': isMinified ? '"production"' : '"development"' }, jsx: 'react-jsx' },
    onLog: (level, log) => {
      if (level === 'warn') throw new Error(log.message);
    },
  });
  try {
    const { output } = await build.generate({ format: 'es', minify: isMinified, codeSplitting: false });
    return output[0].code;
  } finally {
    await build.close();
  }
}

/** The file need not exist. */
function entryPlugin(input: string, source: string): Plugin {
  return {
    name: 'entry',
    resolveId: (id) => (id === input ? id : null),
    load: (id) => (id === input ? source : null),
  };
}

/** Bytes that a page loads for `source`, such as `export * from '@guidon/browser-sdk'`: bundled, minified, `gzip -9`. */
export async function bundleBytes(source: string, external: readonly (string | RegExp)[] = []): Promise<number> {
  const code = await bundle('support/bundled.ts', { source, external, isMinified: true });
  return gzipBytes(code);
}

/** Length of `content` after `gzip -9`. */
export function gzipBytes(content: string | Uint8Array): number {
  return gzipSync(content, { level: constants.Z_BEST_COMPRESSION }).length;
}
