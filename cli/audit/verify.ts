import { createReadStream, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { PlatformError } from '@guidon/protocol';
import { type LogEntry, LogVerifier, type TreeHead, verifyTreeHead } from '@guidon/protocol/audit-proof';
import { decodeSigned } from '@guidon/protocol/msgpack';
import { TrustedKeys } from '@guidon/protocol/signed-config';

export interface VerifyOptions {
  /** File with an earlier answer of `…/audit/tree-head`. */
  readonly head?: string;
  /** Fingerprint of the root key that the head must lead back to. */
  readonly trustRoot?: string;
}

/**
 * `guidon audit verify EXPORT`: checks an NDJSON export offline. Prints one line; resolves with the exit status, 0 for a sound log and 1 for
 * one that is not. Throws PlatformError when the files are not what they should be.
 */
export async function runAuditVerify(file: string, options: VerifyOptions): Promise<number> {
  const head = options.head === undefined ? undefined : readHead(options.head, options.trustRoot);
  const verifier = new LogVerifier(head);
  for await (const entry of entriesOf(file)) if (!verifier.add(entry)) break;
  const verdict = verifier.verdict();
  if (!verdict.isSound) {
    console.log(`entry ${verdict.sequence} is the first bad one (${verdict.fault}): ${verdict.detail}`);
    return 1;
  }
  const against = head === undefined ? 'no head given: a cut end would not show' : `as of the head of ${head.size}`;
  console.log(`${verdict.size} entries, unbroken, root ${verdict.root} (${against})`);
  return 0;
}

async function* entriesOf(file: string): AsyncGenerator<LogEntry> {
  let number = 0;
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY })) {
    number += 1;
    if (line === '') continue;
    try {
      yield entryFrom(line, `${file}:${number}`);
    } catch (error) {
      if (number === 1) throw error;
      // It began as an export: a line that is no entry is one that was damaged or cut, which no hash fits.
      yield { text: line, hash: '' };
    }
  }
}

/** The hash is of the text alone: a number that is not the text's, or a member beside it, would be read as if it vouched for them. */
function entryFrom(line: string, where: string): LogEntry {
  const { sequence, text, hash, ...others } = Object(parseJson(line, where)) as Readonly<Record<string, unknown>>;
  if (typeof text !== 'string' || typeof hash !== 'string') {
    throw unusable(`${where} is no entry of an NDJSON export: export the log with format=ndjson`);
  }
  const isAsExported = text.startsWith(`{"sequence":${String(sequence)},`) && Object.keys(others).length === 0;
  return { text, hash: isAsExported ? hash : '' };
}

/** The tree head of `path`, with its signature checked back to the root key it names, or to the pinned one. */
function readHead(path: string, trustRoot: string | undefined): TreeHead {
  const value = parseJson(readFileSync(path, 'utf8'), path);
  const { signed, keySet, rootPublicKey } = Object(value) as Readonly<Record<string, unknown>>;
  if (typeof signed !== 'string' || typeof keySet !== 'string' || typeof rootPublicKey !== 'string') {
    throw unusable(`${path} is no tree head: keep the answer of GET …/audit/tree-head as it came`);
  }
  const keys = new TrustedKeys(rootPublicKey, trustRoot).acceptKeySet(signedFrom(keySet, path)).keys;
  const head = verifyTreeHead(signedFrom(signed, path), keys);
  if (head === undefined) throw unusable(`${path} is not signed by the key it names`);
  return head;
}

function signedFrom(base64: string, path: string): ReturnType<typeof decodeSigned>['signed'] {
  try {
    return decodeSigned(Buffer.from(base64, 'base64')).signed;
  } catch (cause) {
    throw new PlatformError('validation-failed', `${path} holds no signed document`, { cause });
  }
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new PlatformError('validation-failed', `${where} is not JSON`, { cause });
  }
}

const unusable = (detail: string): PlatformError => new PlatformError('validation-failed', detail);
