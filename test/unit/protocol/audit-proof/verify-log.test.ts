import { createHash } from 'node:crypto';
import {
  hashLeaf,
  type LogEntry,
  type LogVerdict,
  LogVerifier,
  MerkleFrontier,
  type RememberedHead,
  signTreeHead,
  verifyTreeHead,
} from '@guidon/protocol/audit-proof';
import { generateSigningKey } from '@guidon/protocol/signed-config';
import { describe, expect, it } from 'vitest';

const LENGTH = 24;
/** How much of the log the remembered head knows: it has grown since. */
const EARLIER = 16;
/** Of each class; less of those that the classes before them come near. */
const TAMPERED_COUNT = 10_000;
const RELATED_COUNT = 1_000;

/** A log whose texts are chained as the control plane chains them. */
function chained(bodies: readonly string[]): LogEntry[] {
  const entries: LogEntry[] = [];
  let previousHash = '';
  for (const [index, body] of bodies.entries()) {
    const text = `{"sequence":${index + 1},"previousHash":"${previousHash}","action":${JSON.stringify(body)}}`;
    previousHash = createHash('sha256').update('\0').update(text).digest('hex');
    entries.push({ text, hash: previousHash });
  }
  return entries;
}

const bodies = Array.from({ length: LENGTH }, (_, index) => `flag.edit ${index} é 漢`);
const log = chained(bodies);

function headOf(entries: readonly LogEntry[], size: number): RememberedHead {
  const frontier = new MerkleFrontier();
  for (const { text } of entries.slice(0, size)) frontier.append(hashLeaf(text));
  return { size, root: Buffer.from(frontier.root()).toString('hex') };
}

function verify(entries: readonly LogEntry[], head?: RememberedHead): LogVerdict {
  const verifier = new LogVerifier(head);
  for (const entry of entries) if (!verifier.add(entry)) break;
  return verifier.verdict();
}

const at = (entries: readonly LogEntry[], index: number): LogEntry => entries[index] ?? { text: '', hash: '' };

/** Small and seeded, so that a failure can be run again. */
function chooserOf(seed: number): (count: number) => number {
  let state = seed;
  return (count) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * count);
  };
}

/** The log as it is exported, NDJSON, and its lines. */
const lines = log.map((entry) => `${JSON.stringify(entry)}\n`);
const exported = Buffer.from(lines.join(''));

/** The entries of an export; undefined for what the reader refuses before it verifies anything. */
function readExport(bytes: Buffer): LogEntry[] | undefined {
  try {
    const entries: LogEntry[] = bytes
      .toString('utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));
    const isEntry = ({ text, hash }: LogEntry): boolean => typeof text === 'string' && typeof hash === 'string';
    return entries.every(isEntry) ? entries.map(({ text, hash }) => ({ text, hash })) : undefined;
  } catch {
    return undefined;
  }
}

const joined = (changed: readonly string[]): Buffer => Buffer.from(changed.join(''));

/** One change of the export each. What is cut off or made anew is so within what the head knows: of the rest nobody has kept anything. */
const TAMPERINGS: Readonly<Record<string, (choose: (count: number) => number) => Buffer>> = {
  'one-bit changes': (choose) => {
    const bytes = Buffer.from(exported);
    const place = choose(bytes.length);
    bytes[place] = (bytes[place] ?? 0) ^ (1 << choose(8));
    return bytes;
  },
  deletions: (choose) => joined(lines.toSpliced(choose(EARLIER), 1 + choose(3))),
  reorders: (choose) => {
    const index = choose(LENGTH);
    const other = (index + 1 + choose(LENGTH - 1)) % LENGTH;
    return joined(lines.with(index, lines[other] ?? '').with(other, lines[index] ?? ''));
  },
  truncations: (choose) => exported.subarray(0, choose(joined(lines.slice(0, EARLIER)).length - 1)),
  repetitions: (choose) => joined(lines.toSpliced(choose(LENGTH), 0, lines[choose(LENGTH)] ?? '')),
  rewritings: (choose) => {
    const index = choose(EARLIER);
    const anew = chained(bodies.with(index, `${bodies[index]}!`));
    return joined(anew.map((entry) => `${JSON.stringify(entry)}\n`));
  },
};

describe('LogVerifier (I23)', () => {
  it('finds a whole log sound, with every earlier head', () => {
    expect(verify([])).toMatchObject({ isSound: true, size: 0 });
    expect(verify(log)).toMatchObject({ isSound: true, size: LENGTH });
    for (let size = 0; size <= LENGTH; size += 1) expect(verify(log, headOf(log, size)).isSound).toBe(true);
  });

  it('names the first bad entry', () => {
    const edited = { ...at(log, 4), text: at(log, 4).text.replace('4', '5') };
    expect(verify(log.with(4, edited))).toMatchObject({ isSound: false, sequence: 5, fault: 'edited' });
    expect(verify(log.toSpliced(6, 1))).toMatchObject({ sequence: 7, fault: 'out-of-order' });
    expect(verify(log.toSpliced(6, 0, at(log, 6)))).toMatchObject({ sequence: 8, fault: 'out-of-order' });
    expect(verify(log.with(8, at(log, 9)).with(9, at(log, 8)))).toMatchObject({ sequence: 9, fault: 'out-of-order' });
  });

  it('with a head finds a cut end and a log made anew, which look sound without one', () => {
    const head = headOf(log, 20);
    expect(verify(log.slice(0, 12)).isSound).toBe(true);
    expect(verify(log.slice(0, 12), head)).toMatchObject({ sequence: 13, fault: 'missing' });
    const anew = chained(bodies.with(3, 'nothing to see'));
    expect(verify(anew).isSound).toBe(true);
    expect(verify(anew, head)).toMatchObject({ sequence: 20, fault: 'rewritten' });
    expect(verify(log, { size: 0, root: head.root })).toMatchObject({ isSound: false, fault: 'rewritten' });
  });

  const countOf = (name: string): number =>
    ['repetitions', 'rewritings'].includes(name) ? RELATED_COUNT : TAMPERED_COUNT;
  const classes = Object.entries(TAMPERINGS).map(([name, tamper]) => ({ name, tamper, wanted: countOf(name) }));
  it.each(classes)(
    'holding one earlier head finds each of $wanted $name (G11)',
    ({ tamper, wanted }) => {
      const choose = chooserOf(20_260_401);
      const head = headOf(log, EARLIER);
      expect(verify(log, head)).toMatchObject({ isSound: true, size: LENGTH });
      const missed: string[] = [];
      let count = 0;
      while (count < wanted) {
        const entries = readExport(tamper(choose));
        // Another spelling of the same log is no change of it.
        if (entries !== undefined && JSON.stringify(entries) === JSON.stringify(log)) continue;
        count += 1;
        if (entries !== undefined && verify(entries, head).isSound) missed.push(JSON.stringify(entries));
      }
      expect(missed).toEqual([]);
    },
    120_000,
  );
});

describe('verifyTreeHead()', () => {
  const key = generateSigningKey();
  const signed = signTreeHead({ owner: 't1', size: 3, root: 'a'.repeat(64), issuedAt: 5 }, key);

  it('gives the head that one of the keys has signed, and no other', () => {
    expect(verifyTreeHead(signed, [generateSigningKey(), key])).toMatchObject({
      owner: 't1',
      size: 3,
      keyId: key.keyId,
    });
    expect(verifyTreeHead(signed, [generateSigningKey()])).toBeUndefined();
    const forged = Buffer.from(Buffer.from(signed.document).toString().replace('"size":3', '"size":2'));
    expect(verifyTreeHead({ ...signed, document: forged }, [key])).toBeUndefined();
  });

  it.each([
    'nonsense',
    '[]',
    '{"schema":2}',
    '{"schema":1,"owner":"t","size":-0.5,"root":"","issuedAt":1,"keyId":"k"}',
  ])('refuses %s', (text) => {
    expect(() => verifyTreeHead({ ...signed, document: Buffer.from(text) }, [key])).toThrow(/tree head/);
  });
});
