/** A short run: it shows that everything works, not how fast. */
export const isQuick = process.argv.includes('--quick');

/** The value behind `--name`, if it is there. */
export function findOption(name: string): string | undefined {
  const index = process.argv.indexOf(`--${name}`);
  return index < 0 ? undefined : process.argv[index + 1];
}
