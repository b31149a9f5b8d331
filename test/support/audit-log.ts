import { type LogEntry, type LogVerdict, LogVerifier, type RememberedHead } from '@guidon/protocol/audit-proof';

/** What the offline verifier says of a log, oldest entry first. */
export function verdictOf(entries: Iterable<LogEntry>, head?: RememberedHead): LogVerdict {
  const verifier = new LogVerifier(head);
  for (const entry of entries) if (!verifier.add(entry)) break;
  return verifier.verdict();
}
