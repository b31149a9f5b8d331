import assert from 'node:assert/strict';
import { COPY_SLACK_BYTES } from '../compile/layout.js';
import { PAGE_BYTES } from './webassembly-types.js';

/** Small blocks share a page with others of their size class; larger ones get whole pages. */
const SIZE_CLASSES: readonly number[] = [
  128, 192, 256, 384, 512, 768, 1_024, 1_536, 2_048, 3_072, 4_096, 6_144, 8_192, 12_288, 16_384, 21_824, 32_768,
];

/** A page of blocks of one size class. */
interface SmallPage {
  readonly kind: 'small';
  readonly page: number;
  readonly classBytes: number;
  /** Offsets in the page of what was freed. */
  readonly free: number[];
  readonly slotCount: number;
  /** Slots from here on have never been handed out: a page for one block costs no list of thousands. */
  firstUnused: number;
}

interface LargeRun {
  readonly kind: 'large';
  readonly pageCount: number;
}

interface FreeRun {
  page: number;
  pageCount: number;
}

/**
 * Hands out 64 KiB pages of kernel memory by size class. It has one owner, which alone allocates and frees, and keeps its books
 * outside of that memory. Every allocation has COPY_SLACK_BYTES behind its bytes.
 */
export class PageAllocator {
  readonly #grow: (pageCount: number) => boolean;
  readonly #onFree: ((address: number, byteCount: number) => void) | undefined;
  readonly #pages = new Map<number, SmallPage | LargeRun>();
  /** Per size class the pages that have room. */
  readonly #open = new Map<number, Set<SmallPage>>();
  /** Ascending, never adjacent. */
  readonly #freeRuns: FreeRun[] = [];
  #endPage: number;
  #usedBytes = 0;
  #freePageCount = 0;

  /** `grow` adds pages at the end of the memory, false when it is full; `onFree` is told of everything that is freed. */
  constructor(
    firstPage: number,
    endPage: number,
    grow: (pageCount: number) => boolean,
    onFree?: (address: number, byteCount: number) => void,
  ) {
    this.#grow = grow;
    this.#onFree = onFree;
    this.#endPage = endPage;
    if (endPage > firstPage) this.#addFreeRun(firstPage, endPage - firstPage);
  }

  /** Bytes handed out, rounded up as they were. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Whole pages that are free, in bytes. */
  get freeBytes(): number {
    return this.#freePageCount * PAGE_BYTES;
  }

  /** Address of `byteCount` bytes with whatever was there before; undefined when the memory is full. */
  allocate(byteCount: number): number | undefined {
    const needed = byteCount + COPY_SLACK_BYTES;
    const classBytes = SIZE_CLASSES.find((size) => size >= needed);
    if (classBytes !== undefined) return this.#allocateSmall(classBytes);
    const pageCount = Math.ceil(needed / PAGE_BYTES);
    const page = this.#takePages(pageCount);
    if (page === undefined) return undefined;
    this.#pages.set(page, { kind: 'large', pageCount });
    this.#usedBytes += pageCount * PAGE_BYTES;
    return page * PAGE_BYTES;
  }

  /** What an allocation takes, rounded up as it was. */
  bytesOf(address: number): number {
    const entry = this.#pages.get(Math.floor(address / PAGE_BYTES));
    assert(entry !== undefined, 'the address is allocated');
    return entry.kind === 'large' ? entry.pageCount * PAGE_BYTES : entry.classBytes;
  }

  free(address: number): void {
    const page = Math.floor(address / PAGE_BYTES);
    const entry = this.#pages.get(page);
    assert(entry !== undefined, 'only what was allocated is freed');
    if (entry.kind === 'large') {
      this.#onFree?.(address, entry.pageCount * PAGE_BYTES);
      this.#pages.delete(page);
      this.#usedBytes -= entry.pageCount * PAGE_BYTES;
      this.#addFreeRun(page, entry.pageCount);
      return;
    }
    const offset = address - page * PAGE_BYTES;
    const wasGiven = offset % entry.classBytes === 0 && offset < entry.firstUnused * entry.classBytes;
    assert(wasGiven && !entry.free.includes(offset), 'a block is freed once');
    this.#onFree?.(address, entry.classBytes);
    entry.free.push(offset);
    this.#usedBytes -= entry.classBytes;
    this.#openPages(entry.classBytes).add(entry);
    if (entry.free.length === entry.firstUnused) this.#closePage(entry);
  }

  #closePage(page: SmallPage): void {
    this.#openPages(page.classBytes).delete(page);
    this.#pages.delete(page.page);
    this.#addFreeRun(page.page, 1);
  }

  #openPages(classBytes: number): Set<SmallPage> {
    const open = this.#open.get(classBytes) ?? new Set<SmallPage>();
    this.#open.set(classBytes, open);
    return open;
  }

  #allocateSmall(classBytes: number): number | undefined {
    const open = this.#openPages(classBytes);
    let [page] = open;
    if (page === undefined) {
      page = this.#makeSmallPage(classBytes);
      if (page === undefined) return undefined;
      open.add(page);
    }
    const offset = page.free.pop() ?? page.firstUnused++ * classBytes;
    assert(offset < page.slotCount * classBytes, 'an open page has room');
    if (page.free.length === 0 && page.firstUnused === page.slotCount) open.delete(page);
    this.#usedBytes += classBytes;
    return page.page * PAGE_BYTES + offset;
  }

  #makeSmallPage(classBytes: number): SmallPage | undefined {
    const page = this.#takePages(1);
    if (page === undefined) return undefined;
    const slotCount = Math.floor(PAGE_BYTES / classBytes);
    const made: SmallPage = { kind: 'small', page, classBytes, free: [], slotCount, firstUnused: 0 };
    this.#pages.set(page, made);
    return made;
  }

  /** First fit; grows the memory by at least a sixteenth, so that growing stays rare. */
  #takePages(pageCount: number): number | undefined {
    const index = this.#freeRuns.findIndex((run) => run.pageCount >= pageCount);
    const run = this.#freeRuns[index];
    if (run === undefined) {
      const last = this.#freeRuns.at(-1);
      const atEnd = last !== undefined && last.page + last.pageCount === this.#endPage ? last.pageCount : 0;
      const generous = Math.max(pageCount - atEnd, this.#endPage >> 4);
      const added = this.#grow(generous) ? generous : this.#grow(pageCount - atEnd) ? pageCount - atEnd : 0;
      if (added === 0) return undefined;
      const first = this.#endPage;
      this.#endPage += added;
      this.#addFreeRun(first, added);
      return this.#takePages(pageCount);
    }
    const page = run.page;
    run.page += pageCount;
    run.pageCount -= pageCount;
    this.#freePageCount -= pageCount;
    if (run.pageCount === 0) this.#freeRuns.splice(index, 1);
    return page;
  }

  #addFreeRun(page: number, pageCount: number): void {
    this.#freePageCount += pageCount;
    const found = this.#freeRuns.findIndex((run) => run.page > page);
    const index = found < 0 ? this.#freeRuns.length : found;
    const before = this.#freeRuns[index - 1];
    const after = this.#freeRuns[index];
    if (before !== undefined && before.page + before.pageCount === page) {
      before.pageCount += pageCount;
      if (after !== undefined && before.page + before.pageCount === after.page) {
        before.pageCount += after.pageCount;
        this.#freeRuns.splice(index, 1);
      }
    } else if (after !== undefined && page + pageCount === after.page) {
      after.page = page;
      after.pageCount += pageCount;
    } else {
      this.#freeRuns.splice(index, 0, { page, pageCount });
    }
  }
}
