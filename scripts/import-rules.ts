/**
 * Who may import whom, as docs/ARCHITECTURE.md draws it. A key is a workspace or a folder inside one; the longest key that a file's
 * path starts with applies. Packages that only one workspace may name stand in ONLY_IN.
 */
export const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  engine: ['protocol'],
  pool: ['engine', 'protocol'],
  server: ['engine', 'pool', 'protocol'],
  'control-plane': ['engine', 'pool', 'protocol'],
  'sdk/core': ['protocol'],
  'sdk/server': ['sdk-core', 'engine', 'protocol'],
  'sdk/browser': ['sdk-core', 'protocol'],
  'sdk/react': ['browser-sdk'],
  'sdk/openfeature-server': ['server-sdk'],
  'sdk/openfeature-web': ['browser-sdk'],
  console: ['protocol'],
  cli: ['protocol'],
  'cli/run': ['protocol', 'server', 'control-plane'],
  bench: ['protocol', 'engine', 'server', 'control-plane', 'server-sdk', 'browser-sdk'],
  'bench/peers': [],
  test: [
    'protocol',
    'engine',
    'pool',
    'server',
    'control-plane',
    'sdk-core',
    'server-sdk',
    'browser-sdk',
    'react',
    'openfeature-server',
    'openfeature-web',
    'cli',
    'scripts',
  ],
  scripts: ['engine'],
};

/** Packages that are kept behind one workspace, so that they can be swapped there and never reach an SDK. */
export const ONLY_IN: Readonly<Record<string, string>> = {
  'uWebSockets.js': 'server',
  piscina: 'pool',
  re2js: 'engine',
  fastify: 'control-plane',
  nats: 'cli',
};

/** Workspaces that may reach into another package's files; everybody else imports the package itself. */
export const MAY_IMPORT_FILES: ReadonlySet<string> = new Set(['test', 'bench', 'scripts']);

/** Entry points beside the package root that everybody may import. */
export const PUBLIC_SUBPATHS: ReadonlySet<string> = new Set([
  '@guidon/engine/in-process',
  '@guidon/protocol/audit-proof',
  '@guidon/protocol/events',
  '@guidon/protocol/live-updates',
  '@guidon/protocol/metrics',
  '@guidon/protocol/msgpack',
  '@guidon/protocol/live-updates/close-codes.js',
  '@guidon/protocol/signed-config',
  '@guidon/protocol/tls-files',
  '@guidon/server/processes',
]);

/** Folders inside a workspace with a package.json of their own, whose dependencies nothing else may name. */
export const OWN_PACKAGES: readonly string[] = [
  'bench/peers',
  'sdk/core',
  'sdk/server',
  'sdk/browser',
  'sdk/react',
  'sdk/openfeature-server',
  'sdk/openfeature-web',
];
