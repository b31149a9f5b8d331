import { type LogEntry, LogVerifier } from '@guidon/protocol/audit-proof';

/** Entries a second of an NDJSON export that are parsed and verified as `guidon audit verify` does it. Throws when the log is not sound. */
export function measureVerification(lines: readonly string[], durationMs: number): number {
  let best = 0;
  const endMs = performance.now() + durationMs;
  while (performance.now() < endMs) {
    const startedMs = performance.now();
    const verifier = new LogVerifier();
    for (const line of lines) verifier.add(JSON.parse(line) as LogEntry);
    const verdict = verifier.verdict();
    if (!verdict.isSound) throw new Error(`entry ${verdict.sequence} of the export is ${verdict.fault}`);
    best = Math.max(best, (lines.length * 1_000) / (performance.now() - startedMs));
  }
  return best;
}
