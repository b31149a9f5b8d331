import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ControlStore } from '../store/control-store.js';
import { keys, type Scope } from '../store/keys.js';
import type { AuditEntry, AuditRow } from './audit-entry.js';
import { type AuditFilter, matchesFilter } from './audit-filter.js';

export const EXPORT_FORMATS = ['ndjson', 'json', 'csv'] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];
export const EXPORT_TYPES: Readonly<Record<ExportFormat, string>> = {
  ndjson: 'application/x-ndjson',
  json: 'application/json; charset=utf-8',
  csv: 'text/csv; charset=utf-8; header=present',
};

/** Rows read between two turns of the event loop. */
const PAGE_ROWS = 200;

interface ExportedEntry {
  readonly row: AuditRow;
  readonly entry: AuditEntry;
}

/** A log from its first entry to its last, oldest first, as far as `filter` lets through. What is appended meanwhile may be in it. */
export async function* exportLog(
  store: ControlStore,
  owner: Scope,
  filter: AuditFilter,
  format: ExportFormat,
): AsyncGenerator<string> {
  const { head, line, separator, tail } = FORMS[format];
  let lead = head;
  for await (const exported of entriesOf(store, owner, filter)) {
    yield `${lead}${line(exported)}`;
    lead = separator;
  }
  // A log that nothing was taken of still has its head.
  yield lead === head ? `${head}${tail}` : tail;
}

async function* entriesOf(store: ControlStore, owner: Scope, filter: AuditFilter): AsyncGenerator<ExportedEntry> {
  let after = 0;
  for (;;) {
    const rows = store.list<AuditRow>(keys.auditEntries(owner), { after, limit: PAGE_ROWS });
    for (const { value: row } of rows) {
      const entry = JSON.parse(row.text) as AuditEntry;
      after = entry.sequence;
      if (matchesFilter(entry, filter)) yield { row, entry };
    }
    if (rows.length < PAGE_ROWS) return;
    await nextTurn();
  }
}

const CSV_COLUMNS = [
  'sequence',
  'at',
  'actorKind',
  'actorId',
  'actorName',
  'personId',
  'address',
  'action',
  'subject',
  'summary',
  'comment',
  'revisions',
  'requestId',
  'hash',
];

const FORMS: Readonly<
  Record<ExportFormat, { head: string; line: (exported: ExportedEntry) => string; separator: string; tail: string }>
> = {
  // What `guidon audit verify` reads: the text as it was hashed, never written again.
  ndjson: {
    head: '',
    line: ({ row, entry }) => `${JSON.stringify({ sequence: entry.sequence, hash: row.hash, text: row.text })}\n`,
    separator: '',
    tail: '',
  },
  json: {
    head: '[',
    line: ({ row, entry }) => `\n${JSON.stringify({ ...entry, hash: row.hash })}`,
    separator: ',',
    tail: '\n]\n',
  },
  csv: { head: `${CSV_COLUMNS.join(',')}\r\n`, line: csvLine, separator: '', tail: '' },
};

function csvLine({ row, entry }: ExportedEntry): string {
  const revisions = entry.environments.map(
    ({ environmentId, previousRevision, revision }) => `${environmentId}: ${previousRevision ?? '?'} -> ${revision}`,
  );
  const cells = [
    String(entry.sequence),
    new Date(entry.at).toISOString(),
    entry.actor.kind,
    entry.actor.credentialId,
    entry.actor.name,
    entry.actor.personId ?? '',
    entry.from?.address ?? '',
    entry.action,
    entry.subject,
    entry.summary,
    entry.comment,
    revisions.join('; '),
    entry.requestId,
    row.hash,
  ];
  return `${cells.map(csvCell).join(',')}\r\n`;
}

/** What a spreadsheet would take for a formula is made text (reliability 2.1). */
export function csvCell(text: string): string {
  const neutral = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(neutral) ? `"${neutral.replaceAll('"', '""')}"` : neutral;
}
