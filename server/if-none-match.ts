/** RFC 9110 section 13.1.2: compared weakly, so that what a proxy has weakened still counts. */
export function isNamed(ifNoneMatch: string, etag: string): boolean {
  if (ifNoneMatch === '') return false;
  return ifNoneMatch.split(',').some((candidate) => {
    const name = candidate.trim().replace(/^W\//, '');
    return name === etag || name === '*';
  });
}
