import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EVENT_LINES_BYTES_MAX } from '@guidon/protocol/events';
import { EventSpool, type SealedSegment } from '@guidon/server/events/event-spool.js';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

const logger = pino({ level: 'silent' });
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'guidon-spool-'));
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(directory, { recursive: true, force: true });
});

const open = (bytesMax?: number): EventSpool =>
  new EventSpool({ directory, logger, segmentMs: 60_000, ...(bytesMax === undefined ? {} : { bytesMax }) });

async function linesOf(spool: EventSpool, segments: readonly SealedSegment[]): Promise<string[]> {
  return (await Promise.all(segments.map((segment) => spool.read(segment)))).flat();
}

/** The number of a process that has ended. */
const deadPid = (): number => spawnSync(process.execPath, ['-e', '']).pid;

describe('EventSpool', () => {
  it('keeps what was appended, in order, until it is removed', async () => {
    const spool = open();
    await Promise.all(['a', 'b', 'c'].map((line) => spool.append(`${line}\n`, 2)));
    expect(await spool.sealed()).toEqual([]);
    await spool.flush();
    await spool.append('d\n', 1);
    await spool.flush();
    const sealed = await spool.sealed();
    expect(sealed.map(({ eventCount }) => eventCount)).toEqual([6, 1]);
    expect(await linesOf(spool, sealed)).toEqual(['a', 'b', 'c', 'd']);
    for (const segment of sealed) await spool.remove(segment);
    expect(await spool.sealed()).toEqual([]);
    expect(spool.counters).toEqual({ accepted: 7, dropped: 0, failedWrites: 0 });
  });

  it('seals by itself and says so', async () => {
    const spool = new EventSpool({ directory, logger, segmentMs: 1 });
    const told = new Promise<void>((resolve) => spool.onSealed(resolve));
    await spool.append('a\n', 1);
    await told;
    expect(await linesOf(spool, await spool.sealed())).toEqual(['a']);
  });

  it('keeps what it takes after it stood still, though its open segment was adopted and shipped meanwhile', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    const spool = open();
    await spool.append('a\n', 1);
    const [shipped = ''] = readdirSync(directory);
    rmSync(join(directory, shipped));
    vi.advanceTimersByTime(61_000);
    await spool.append('b\n', 1);
    await spool.flush();
    expect(await linesOf(spool, await spool.sealed())).toEqual(['b']);
    expect(spool.counters).toEqual({ accepted: 2, dropped: 0, failedWrites: 0 });
    // Not stopped, it goes on in the same segment.
    await spool.append('c\n', 1);
    vi.advanceTimersByTime(1_000);
    await spool.append('d\n', 1);
    await spool.flush();
    expect(await linesOf(spool, await spool.sealed())).toEqual(['b', 'c', 'd']);
  });

  it('seals what it held back once it is taken again', async () => {
    const spool = new EventSpool({ directory, logger, segmentMs: 1 });
    spool.hold(true);
    await spool.append('a\n', 1);
    const told = new Promise<void>((resolve) => spool.onSealed(resolve));
    spool.hold(false);
    await told;
    expect(await linesOf(spool, await spool.sealed())).toEqual(['a']);
  });

  it('writes what comes while it seals', async () => {
    const spool = open();
    await spool.append('a\n', 1);
    const sealing = spool.flush();
    const written = Array.from({ length: 50 }, (_, index) => spool.append(`b${index}\n`, 1));
    await Promise.all([sealing, ...written]);
    await spool.flush();
    expect(await linesOf(spool, await spool.sealed())).toHaveLength(51);
  });

  it('takes over what a killed process left, without the line that it had not finished', async () => {
    const left = `1700000000000-${deadPid()}-0123abcd-000001.open`;
    const alive = `1700000000001-${process.ppid}-0123abcd-000002.open`;
    writeFileSync(join(directory, left), '{"id":"1"}\n{"id":"2"}\n{"id":"3');
    writeFileSync(join(directory, alive), '{"id":"4"}\n');
    const spool = open();
    const sealed = await spool.sealed();
    expect(await linesOf(spool, sealed)).toEqual(['{"id":"1"}', '{"id":"2"}']);
    expect(readdirSync(directory)).toContain(alive);
  });

  it('leaves its own open segment alone, and takes over one of a process that had its number', async () => {
    writeFileSync(join(directory, `1700000000000-${process.pid}-0123abcd-000001.open`), 'old\n');
    const spool = open();
    await spool.append('new\n', 1);
    expect(await linesOf(spool, await spool.sealed())).toEqual(['old']);
    await spool.flush();
    expect(await linesOf(spool, await spool.sealed())).toEqual(['old', 'new']);
  });

  it('drops the oldest when there are too many, and counts them', async () => {
    const spool = open(10_000);
    for (let index = 0; index < 10; index += 1) {
      await spool.append(`${String(index).repeat(1_999)}\n`, 3);
      await spool.flush();
    }
    const lines = await linesOf(spool, await spool.sealed());
    expect(lines.map((line) => line[0])).toEqual(['5', '6', '7', '8', '9']);
    expect(spool.counters).toEqual({ accepted: 30, dropped: 15, failedWrites: 0 });
  });

  it('says when the disk takes nothing, and takes what comes once it does', async () => {
    rmSync(directory, { recursive: true });
    writeFileSync(directory, 'no directory');
    const spool = open();
    await expect(spool.append('a\n', 1)).rejects.toMatchObject({ code: 'storage-unavailable' });
    expect(spool.counters).toEqual({ accepted: 0, dropped: 0, failedWrites: 1 });
    rmSync(directory);
    mkdirSync(directory);
    await spool.append('b\n', 1);
    await spool.flush();
    expect(await linesOf(spool, await spool.sealed())).toEqual(['b']);
  });

  it('seals nothing larger than what the control plane takes at once, however much waits for the disk', async () => {
    const spool = open();
    const line = `${'ä'.repeat(125_000)}\n`;
    await Promise.all(Array.from({ length: 24 }, () => spool.append(line, 1)));
    // From an edge: as much as one request may hold, behind a segment that has begun.
    await spool.append('small\n', 1);
    await spool.append(`${'x'.repeat(EVENT_LINES_BYTES_MAX - 1)}\n`, 1);
    await spool.flush();
    const sealed = await spool.sealed();
    expect(Math.max(...sealed.map(({ bytes }) => bytes))).toBe(EVENT_LINES_BYTES_MAX);
    expect(await linesOf(spool, sealed)).toHaveLength(26);
    expect(spool.counters).toMatchObject({ accepted: 26, dropped: 0 });
  });

  it('refuses what would wait beyond its bound', async () => {
    const spool = open();
    const many = Array.from({ length: 40 }, () => spool.append('x'.repeat(256 * 1024), 1));
    const refused = (await Promise.allSettled(many)).filter(({ status }) => status === 'rejected');
    expect(refused.length).toBeGreaterThan(0);
    expect(refused[0]).toMatchObject({ reason: { code: 'overloaded' } });
    await spool.flush();
  });
});
