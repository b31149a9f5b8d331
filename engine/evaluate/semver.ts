/** A version of SemVer 2, without its build part. Numbers stay decimal text: they may have any length and compare exactly. */
export interface Semver {
  /** major, minor, patch; missing ones are '0'. No leading zeros. */
  readonly numbers: readonly string[];
  /** Identifiers after the `-`; empty for a release. */
  readonly prerelease: readonly string[];
}

const NUMBER = /^(?:0|[1-9][0-9]*)$/;
const IDENTIFIER = /^[0-9A-Za-z-]+$/;
const DIGITS = /^[0-9]+$/;

/** Undefined when `text` is not `N[.N[.N]][-pre][+build]`. */
export function parseSemver(text: string): Semver | undefined {
  const [version, build] = cutAt(text, '+');
  const [core, prerelease] = cutAt(version, '-');
  const numbers = core.split('.', 4);
  if (numbers.length > 3 || !numbers.every((number) => NUMBER.test(number))) return undefined;
  if (build !== undefined && !build.split('.').every((identifier) => IDENTIFIER.test(identifier))) return undefined;
  const identifiers = prerelease === undefined ? [] : prerelease.split('.');
  if (!identifiers.every(isPrereleaseIdentifier)) return undefined;
  const [major = '0', minor = '0', patch = '0'] = numbers;
  return { numbers: [major, minor, patch], prerelease: identifiers };
}

/** Text before and after the first `mark`. */
function cutAt(text: string, mark: string): [string, string | undefined] {
  const index = text.indexOf(mark);
  return index < 0 ? [text, undefined] : [text.slice(0, index), text.slice(index + 1)];
}

function isPrereleaseIdentifier(identifier: string): boolean {
  return DIGITS.test(identifier) ? NUMBER.test(identifier) : IDENTIFIER.test(identifier);
}

/** Negative, 0 or positive: precedence of SemVer 2 section 11. */
export function compareSemver(a: Semver, b: Semver): number {
  for (let index = 0; index < 3; index++) {
    const order = compareNumbers(a.numbers[index] ?? '0', b.numbers[index] ?? '0');
    if (order !== 0) return order;
  }
  if (a.prerelease.length === 0 || b.prerelease.length === 0) {
    return Number(a.prerelease.length === 0) - Number(b.prerelease.length === 0);
  }
  const length = Math.min(a.prerelease.length, b.prerelease.length);
  for (let index = 0; index < length; index++) {
    const order = compareIdentifiers(a.prerelease[index] ?? '', b.prerelease[index] ?? '');
    if (order !== 0) return order;
  }
  return a.prerelease.length - b.prerelease.length;
}

function compareIdentifiers(a: string, b: string): number {
  const isNumberA = DIGITS.test(a);
  const isNumberB = DIGITS.test(b);
  if (isNumberA && isNumberB) return compareNumbers(a, b);
  if (isNumberA !== isNumberB) return isNumberA ? -1 : 1;
  return compareAscii(a, b);
}

/** Without leading zeros the longer number is the greater one. */
function compareNumbers(a: string, b: string): number {
  return a.length === b.length ? compareAscii(a, b) : a.length - b.length;
}

function compareAscii(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
