import { createServer } from 'node:net';
import { PlatformError } from '@guidon/protocol';

/** How many ports after the wished one are tried. */
const TRY_COUNT_MAX = 50;

/** The wished port, or the next one nobody listens on. `taken` holds ports promised to another part of this process. */
export async function findFreePort(
  host: string,
  wished: number,
  taken: ReadonlySet<number> = new Set(),
): Promise<number> {
  if (wished === 0) return 0;
  for (let candidate = wished; candidate < wished + TRY_COUNT_MAX && candidate <= 65_535; candidate += 1) {
    if (!taken.has(candidate) && (await isFree(host, candidate))) return candidate;
  }
  throw new PlatformError(
    'conflict',
    `ports ${wished} to ${wished + TRY_COUNT_MAX - 1} on ${host} are all taken; choose another with --port, --admin-port or --metrics-port`,
  );
}

/** Throws a sentence that names the port and the option when it is taken: for parts that must listen exactly where they were told. */
export async function mustBeFree(host: string, port: number, option: string): Promise<void> {
  if (port !== 0 && !(await isFree(host, port))) {
    throw new PlatformError(
      'conflict',
      `port ${port} on ${host} is taken or may not be used; choose another with ${option}`,
    );
  }
}

/** Throws when two of the options name one port; 0 is any free one. */
export function mustDiffer(ports: Readonly<Record<string, number>>): void {
  const seen = new Map<number, string>();
  for (const [option, port] of Object.entries(ports)) {
    const other = seen.get(port);
    if (port !== 0 && other !== undefined) {
      throw new PlatformError('conflict', `${other} and ${option} are both ${port}: give each a port of its own`);
    }
    seen.set(port, option);
  }
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => resolve(true)));
  });
}
