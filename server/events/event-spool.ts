import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, readFile, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { PlatformError } from '@guidon/protocol';
import { EVENT_LINES_BYTES_MAX } from '@guidon/protocol/events';
import type pino from 'pino';

export interface EventSpoolOptions {
  readonly directory: string;
  /** Of all segments; default 64 MiB. */
  readonly bytesMax?: number;
  /** A segment is sealed once it is that old, milliseconds. */
  readonly segmentMs?: number;
  readonly logger: pino.Logger;
}

/** Some events, complete, waiting to be carried on. */
export interface SealedSegment {
  readonly name: string;
  readonly eventCount: number;
  readonly bytes: number;
}

interface Waiting {
  readonly bytes: Buffer;
  readonly eventCount: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

interface OpenSegment {
  readonly name: string;
  readonly file: FileHandle;
  bytes: number;
  eventCount: number;
  /** `performance.now()` before it was opened and after each write: whoever adopts it looks at the time of the file, which is not earlier. */
  touchedAtMs: number;
}

/** A segment is sealed from here on. It may be larger, but never more than the control plane takes at once: EVENT_LINES_BYTES_MAX. */
const SEGMENT_BYTES_MAX = 256 * 1024;
const SEGMENT_MS = 500;
/** While they wait anyway. */
const HELD_SEGMENT_MS = 10_000;
const SPOOL_BYTES_MAX = 64 * 1024 * 1024;
/** What waits for one write. */
const WAITING_BYTES_MAX = 8 * 1024 * 1024;
/** An open segment that nobody has written to for this long has no writer any more, whatever its number says. */
const ABANDONED_MS = 60_000;
/** A writer that stood still for so long cannot know whether its segment was adopted, and shipped, meanwhile. */
const STOPPED_MS = ABANDONED_MS / 2;
const OPEN_NAME = /^(\d{13}-(\d+)-[0-9a-f]{8}-\d{6})\.open$/;
const SEALED_NAME = /^\d{13}-\d+-[0-9a-f]{8}-\d{6}-(\d+)-(\d+)\.sealed$/;

/**
 * Events on their way to the control plane, as lines in files, so that neither an outage of it nor the end of this process loses what was
 * accepted. All processes of a node share the directory; each writes segments of its own, and the one that leads carries all of them on.
 *
 *   <time>-<pid>-<writer>-<number>.open   --half a second, 256 KiB, or a failed write-->   …-<events>-<bytes>.sealed   --taken, or the oldest of too many--> gone
 *
 * What is in a file survives the process, not the machine: nothing is synced. A line without its end was never accepted and is not read.
 */
export class EventSpool {
  readonly counters = { accepted: 0, dropped: 0, failedWrites: 0 };
  readonly #options: EventSpoolOptions;
  readonly #writer = randomBytes(4).toString('hex');
  #number = 0;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #isSealWanted = false;
  #isHeld = false;
  #working: Promise<void> | undefined;
  #segment: OpenSegment | undefined;
  #timer: NodeJS.Timeout | undefined;
  #onSealed: () => void = () => undefined;

  constructor(options: EventSpoolOptions) {
    this.#options = options;
  }

  /** Told whenever there is something to carry on. */
  onSealed(listener: () => void): void {
    this.#onSealed = listener;
  }

  /**
   * `lines`: whole ones, each with its end, no more than EVENT_LINES_BYTES_MAX. Resolves once they are in a file. Rejects with `overloaded` when too much waits for the disk, with
   * `storage-unavailable` when it takes nothing: then whoever sent them has to keep them.
   */
  append(lines: string, eventCount: number): Promise<void> {
    const bytes = Buffer.from(lines);
    if (this.#waitingBytes + bytes.length > WAITING_BYTES_MAX) {
      return Promise.reject(new PlatformError('overloaded', 'Too many events wait to be kept; send them again later.'));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ bytes, eventCount, resolve, reject });
      this.#waitingBytes += bytes.length;
      this.#working ??= this.#work();
    });
  }

  /** What waits to be carried on, oldest first. Segments that other processes left open when they died are among it. */
  async sealed(): Promise<SealedSegment[]> {
    const names = await this.#list();
    for (const name of names) await this.#adopt(name);
    return parseSealed(names.some((name) => name.endsWith('.open')) ? await this.#list() : names);
  }

  /** Whole lines. */
  async read({ name }: SealedSegment): Promise<string[]> {
    const text = await readFile(join(this.#options.directory, name), 'utf8');
    return text
      .slice(0, text.lastIndexOf('\n') + 1)
      .split('\n')
      .slice(0, -1);
  }

  async remove({ name }: SealedSegment): Promise<void> {
    await unlink(join(this.#options.directory, name)).catch(ignoreAbsence);
  }

  /** While nobody takes segments they are sealed less often: an outage of days must not become a hundred thousand files. */
  hold(isHeld: boolean): void {
    if (isHeld === this.#isHeld) return;
    this.#isHeld = isHeld;
    if (!isHeld) void this.flush();
  }

  /** Seals what is open, once everything that waits is written. */
  flush(): Promise<void> {
    this.#isSealWanted = true;
    this.#working ??= this.#work();
    return this.#working;
  }

  /** Never rejects. One at a time: writes and seals do not meet. */
  async #work(): Promise<void> {
    while (this.#waiting.length > 0 || this.#isSealWanted) {
      const taken = this.#takeWaiting();
      const isMore = this.#waiting.length > 0;
      if (taken.length > 0) await this.#write(taken);
      if (!this.#isSealWanted || isMore) continue;
      this.#isSealWanted = false;
      await this.#seal();
    }
    this.#working = undefined;
  }

  /** As much as fills a segment: while the disk is slow more may wait than the control plane takes at once. */
  #takeWaiting(): Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const waiting of this.#waiting) {
      if (count > 0 && bytes + waiting.bytes.length > SEGMENT_BYTES_MAX) break;
      bytes += waiting.bytes.length;
      count += 1;
    }
    this.#waitingBytes -= bytes;
    return this.#waiting.splice(0, count);
  }

  async #write(taken: readonly Waiting[]): Promise<void> {
    const bytes = Buffer.concat(taken.map((waiting) => waiting.bytes));
    const eventCount = taken.reduce((sum, waiting) => sum + waiting.eventCount, 0);
    if ((this.#segment?.bytes ?? 0) + bytes.length > EVENT_LINES_BYTES_MAX) await this.#seal();
    try {
      await this.#writeLines(bytes, eventCount);
    } catch (cause) {
      this.counters.failedWrites += 1;
      this.#options.logger.warn({ err: cause }, 'events were not kept: their senders keep them');
      const refused = new PlatformError('storage-unavailable', 'The disk takes no events; send them again.', { cause });
      for (const { reject } of taken) reject(refused);
      // It may end inside a line: nothing more goes behind that.
      await this.#seal();
      return;
    }
    this.counters.accepted += eventCount;
    for (const { resolve } of taken) resolve();
    if ((this.#segment?.bytes ?? 0) >= SEGMENT_BYTES_MAX) await this.#seal();
    else this.#timer ??= setTimeout(() => void this.flush(), this.#segmentMs);
  }

  /** Into the open segment; once more, into another, where that one may have been somebody else's by then: ids tell that events came twice. */
  async #writeLines(bytes: Buffer, eventCount: number, isAgain = false): Promise<void> {
    this.#segment ??= await this.#open();
    const segment = this.#segment;
    segment.bytes += bytes.length;
    segment.eventCount += eventCount;
    for (let written = 0; written < bytes.length; ) {
      written += (await segment.file.write(bytes, written)).bytesWritten;
    }
    const stoodStillMs = performance.now() - segment.touchedAtMs;
    segment.touchedAtMs = performance.now();
    if (stoodStillMs < STOPPED_MS || isAgain) return;
    await this.#seal();
    await this.#writeLines(bytes, eventCount, true);
  }

  get #segmentMs(): number {
    return this.#isHeld ? HELD_SEGMENT_MS : (this.#options.segmentMs ?? SEGMENT_MS);
  }

  async #open(): Promise<OpenSegment> {
    const { directory } = this.#options;
    const touchedAtMs = performance.now();
    await mkdir(directory, { recursive: true, mode: 0o700 });
    this.#number = (this.#number + 1) % 1_000_000;
    const name = `${Date.now()}-${process.pid}-${this.#writer}-${String(this.#number).padStart(6, '0')}`;
    const file = await open(join(directory, `${name}.open`), 'wx', 0o600);
    return { name, file, bytes: 0, eventCount: 0, touchedAtMs };
  }

  /** Never rejects. */
  async #seal(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const segment = this.#segment;
    if (segment === undefined) return;
    this.#segment = undefined;
    const { directory, logger } = this.#options;
    try {
      await segment.file.close();
      await rename(join(directory, `${segment.name}.open`), join(directory, sealedName(segment)));
      await this.#dropOldest();
    } catch (error) {
      // It stays open and is adopted as one that was left behind.
      logger.warn({ err: error }, 'a segment of events was not sealed');
    }
    this.#onSealed();
  }

  async #dropOldest(): Promise<void> {
    const { bytesMax = SPOOL_BYTES_MAX, logger } = this.#options;
    const segments = parseSealed(await this.#list());
    let bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0);
    for (const segment of segments) {
      if (bytes <= bytesMax) return;
      bytes -= segment.bytes;
      this.counters.dropped += segment.eventCount;
      logger.warn({ events: segment.eventCount }, 'too many events wait for the control plane: the oldest are dropped');
      await this.remove(segment);
    }
  }

  /** Seals a segment whose writer is gone. */
  async #adopt(name: string): Promise<void> {
    const [, base, pid] = OPEN_NAME.exec(name) ?? [];
    if (base === undefined || base === this.#segment?.name) return;
    const { directory } = this.#options;
    try {
      const { mtimeMs, size } = await stat(join(directory, name));
      const isOwn = base.includes(`-${this.#writer}-`);
      const isLeft = isOwn || Number(pid) === process.pid || !isAlive(Number(pid));
      if (!isLeft && Date.now() - mtimeMs < ABANDONED_MS) return;
      const text = await readFile(join(directory, name), 'utf8');
      const eventCount = text.split('"id":"').length - 1;
      await rename(join(directory, name), join(directory, sealedName({ name: base, bytes: size, eventCount })));
    } catch (error) {
      ignoreAbsence(error);
    }
  }

  async #list(): Promise<string[]> {
    try {
      return (await readdir(this.#options.directory)).sort();
    } catch (error) {
      ignoreAbsence(error);
      return [];
    }
  }
}

function sealedName({ name, bytes, eventCount }: Pick<OpenSegment, 'name' | 'bytes' | 'eventCount'>): string {
  return `${name}-${eventCount}-${bytes}.sealed`;
}

function parseSealed(names: readonly string[]): SealedSegment[] {
  return names.flatMap((name) => {
    const [, events, bytes] = SEALED_NAME.exec(name) ?? [];
    return events === undefined ? [] : [{ name, eventCount: Number(events), bytes: Number(bytes) }];
  });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/** Another process was faster, or nothing has been kept yet. */
function ignoreAbsence(error: unknown): void {
  if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
}
