import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    // `tsc -b` compiles the tests too, to check their types; what runs is the source.
    exclude: ['dist/**', 'node_modules/**'],
    // Real stores, sockets and worker threads: one process per file keeps native handles apart, two at a time fit two cores.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // What is built is loaded by Node as it will be in production, not transformed once more for each file.
    server: { deps: { external: [/\/dist\/.*\.js$/] } },
  },
});
