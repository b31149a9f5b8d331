import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

const PAGE_BYTES = 4_096;
const MAGIC = 0xbeefc0de;
/** Pages 0 and 1 are the metas; every commit writes the other one than the last. */
const META_PAGES = [0, 1] as const;
/** Of a file that changes while it is looked at. */
const LOOKS_MAX = 5;
/** `md_root` of a tree without pages. */
const NO_PAGE = 0xffff_ffff_ffff_ffffn;

/*
 * LMDB's file, as lmdb-js 3 writes it. Little-endian, u64 unless said.
 *
 * page    0: its number | 8: transaction that wrote it | 16: u16 pad | 18: u16 flags | 20: u16 lower | 22: u16 upper | 24: body
 *         overflow pages have at 20 the u32 count of pages that follow without a header, themselves included
 * meta    page + 24: u32 magic | u32 version | address | map size | 48: free tree | 96: main tree | 144: last page | 152: transaction
 * tree    0: u32 pad (of the free tree: page size) | u16 flags | u16 depth | branch, leaf, overflow pages | entries | 40: root page
 * body    u16 offsets of nodes, `lower` bytes of them; offsets, `lower` and `upper` count from 24
 * node    0: u16 low | 2: u16 high | 4: u16 flags | 6: u16 key bytes | 8: key, data
 *         branch: low, high and flags are the 48 bits of a page number; leaf: low and high are the 32 bits of the data's size
 * data    with flag 1 not the data but where it lies: first overflow page | transaction | page count
 * free    key: the transaction that freed the pages; data: count n | n of i64: 0 nothing, p > 0 the page p, -m the m pages from the next entry on
 */
const PAGE_HEADER_BYTES = 24;
const NODE_HEADER_BYTES = 8;
const FREE_TREE = 48;
const MAIN_TREE = 96;
const TREE_ROOT = 40;
const LAST_PAGE = 144;
const META_TRANSACTION = 152;
const META_BYTES = 160;
const BRANCH = 1;
const LEAF = 2;
const OVERFLOW = 4;
const BIG_DATA = 1;

/** The file is not what LMDB wrote. */
class Damage extends Error {}

/**
 * What is wrong with a store's file, in words; undefined when LMDB can read it and write to it. LMDB believes its file: a page out of place ends the
 * process that reads it, and a damaged list of free pages ends the one that writes, or has it write over what is in use. In a whole file each page is
 * in use once or free once, so both trees are walked and every page is claimed. Blocks. A file that another process commits to meanwhile (a second node
 * that was started over the folder of the first) is not damaged for that: what was seen of it then counts for nothing.
 */
export function findDamage(path: string): string | undefined {
  const file = openSync(path, 'r');
  try {
    for (let count = 0; count < LOOKS_MAX; count += 1) {
      const before = transactionsIn(file);
      const damage = walk(file);
      if (damage === undefined || transactionsIn(file) === before) return damage;
    }
    return undefined;
  } finally {
    closeSync(file);
  }
}

function walk(file: number): string | undefined {
  try {
    new PageWalk(file, fstatSync(file).size).walk();
    return undefined;
  } catch (error) {
    if (error instanceof Damage) return error.message;
    throw error;
  }
}

/** Of whatever stands there, sound or not. */
function transactionsIn(file: number): string {
  const metas = META_PAGES.map((page) => {
    const meta = Buffer.alloc(META_BYTES);
    readSync(file, meta, 0, META_BYTES, page * PAGE_BYTES);
    return transactionOf(meta);
  });
  return metas.join();
}

class PageWalk {
  readonly #file: number;
  readonly #fileBytes: number;
  #lastPage = 0;
  #transaction = 0n;
  /** By page: 1 when it has been met. */
  #claimed = new Uint8Array(0);

  constructor(file: number, fileBytes: number) {
    this.#file = file;
    this.#fileBytes = fileBytes;
  }

  walk(): void {
    const meta = this.#newestMeta();
    this.#claimed = new Uint8Array(this.#lastPage + 1);
    for (const page of META_PAGES) this.#claimed[page] = 1;
    for (const _ of this.#rows(meta.readBigUInt64LE(MAIN_TREE + TREE_ROOT), 'headers'));
    for (const { key, data } of this.#rows(meta.readBigUInt64LE(FREE_TREE + TREE_ROOT), 'data'))
      this.#claimFree(key, data);
  }

  #newestMeta(): Buffer {
    if (this.#fileBytes === 0) throw new Damage('the file is empty');
    const pageCount = this.#fileBytes / PAGE_BYTES;
    if (!Number.isInteger(pageCount) || pageCount < META_PAGES.length) throw new Damage('the file is cut');
    const metas = META_PAGES.map((page) => {
      const meta = this.#read(page * PAGE_BYTES, META_BYTES);
      if (meta.readUInt32LE(PAGE_HEADER_BYTES) !== MAGIC) throw new Damage(`meta page ${page} is not one`);
      if (meta.readUInt32LE(FREE_TREE) !== PAGE_BYTES) throw new Damage(`meta page ${page} names another page size`);
      return meta;
    });
    const [newest] = metas.sort((a, b) => (transactionOf(a) > transactionOf(b) ? -1 : 1));
    if (newest === undefined) throw new Damage('there is no meta page');
    const lastPage = newest.readBigUInt64LE(LAST_PAGE);
    if (lastPage >= BigInt(pageCount)) throw new Damage('pages are missing at the end');
    this.#lastPage = Number(lastPage);
    this.#transaction = transactionOf(newest);
    return newest;
  }

  /** Depth first. A page is claimed before it is read, so that no ring of pages is walked twice. `headers`: long data is not read. */
  *#rows(root: bigint, reads: 'headers' | 'data'): Generator<{ key: Buffer; data: Buffer }> {
    const pages = root === NO_PAGE ? [] : [root];
    for (let number = pages.pop(); number !== undefined; number = pages.pop()) {
      const page = this.#readPage(number);
      const flags = page.readUInt16LE(18);
      if (flags !== BRANCH && flags !== LEAF) throw new Damage(`page ${number} is of no kind`);
      for (const node of nodesOf(page, number)) {
        if (flags === BRANCH) pages.push(BigInt(node.readUIntLE(0, 6)));
        else yield { key: keyOf(node, number), data: this.#dataOf(node, number, reads) };
      }
    }
  }

  #readPage(number: bigint): Buffer {
    const index = this.#claim(number, 1n);
    const page = this.#read(index * PAGE_BYTES, PAGE_BYTES);
    this.#checkHeader(page, number);
    return page;
  }

  #checkHeader(page: Buffer, number: bigint): void {
    if (page.readBigUInt64LE(0) !== number) throw new Damage(`page ${number} says that it is another`);
    if (page.readBigUInt64LE(8) > this.#transaction) throw new Damage(`page ${number} is of a later transaction`);
  }

  #dataOf(node: Buffer, number: bigint, reads: 'headers' | 'data'): Buffer {
    const size = node.readUInt32LE(0);
    const start = NODE_HEADER_BYTES + node.readUInt16LE(6);
    if (node.readUInt16LE(4) !== BIG_DATA) {
      if (node.readUInt16LE(4) !== 0) throw new Damage(`a row of page ${number} is of no kind`);
      if (start + size > node.length) throw new Damage(`a row of page ${number} runs out of it`);
      return node.subarray(start, start + size);
    }
    if (start + 24 > node.length) throw new Damage(`a row of page ${number} runs out of it`);
    const first = node.readBigUInt64LE(start);
    const pageCount = node.readBigUInt64LE(start + 16);
    // More than it needs when a longer row was there before.
    if (pageCount * BigInt(PAGE_BYTES) < BigInt(PAGE_HEADER_BYTES + size)) {
      throw new Damage(`a row of page ${number} has fewer pages than its size needs`);
    }
    const bytes = PAGE_HEADER_BYTES + (reads === 'data' ? size : 0);
    const data = this.#read(this.#claim(first, pageCount) * PAGE_BYTES, bytes);
    this.#checkHeader(data, first);
    if (data.readUInt16LE(18) !== OVERFLOW || data.readUInt32LE(20) !== Number(pageCount)) {
      throw new Damage(`page ${first} does not begin a long row`);
    }
    return data.subarray(PAGE_HEADER_BYTES);
  }

  #claimFree(key: Buffer, data: Buffer): void {
    if (key.length !== 8 || data.length < 8) throw new Damage('the list of free pages is damaged');
    const freedBy = key.readBigUInt64LE(0);
    const count = data.readBigUInt64LE(0);
    const isPossible = freedBy > 0n && freedBy <= this.#transaction && (count + 1n) * 8n <= BigInt(data.length);
    if (!isPossible) throw new Damage('the list of free pages is damaged');
    for (let index = 1; index <= count; index += 1) {
      const entry = data.readBigInt64LE(index * 8);
      if (entry > 0n) this.#claim(entry, 1n);
      if (entry >= 0n) continue;
      index += 1;
      if (index > count) throw new Damage('the list of free pages is damaged');
      this.#claim(data.readBigInt64LE(index * 8), -entry);
    }
  }

  /** Answers the first page's number as an index. */
  #claim(first: bigint, pageCount: bigint): number {
    if (first < BigInt(META_PAGES.length) || pageCount < 1n || first + pageCount - 1n > BigInt(this.#lastPage)) {
      throw new Damage(`page ${first} is none of the file`);
    }
    const [from, to] = [Number(first), Number(first + pageCount)];
    for (let index = from; index < to; index += 1) {
      if (this.#claimed[index] === 1) throw new Damage(`page ${index} is there twice`);
      this.#claimed[index] = 1;
    }
    return from;
  }

  #read(offset: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    if (readSync(this.#file, bytes, 0, length, offset) !== length) throw new Damage('the file is cut');
    return bytes;
  }
}

function transactionOf(meta: Buffer): bigint {
  return meta.readBigUInt64LE(META_TRANSACTION);
}

/** From each node to the end of the page. */
function* nodesOf(page: Buffer, number: bigint): Generator<Buffer> {
  const lower = page.readUInt16LE(20);
  const upper = page.readUInt16LE(22);
  const bodyBytes = PAGE_BYTES - PAGE_HEADER_BYTES;
  if (lower === 0 || lower % 2 !== 0 || lower > upper || upper > bodyBytes) {
    throw new Damage(`page ${number} has no plan`);
  }
  for (let place = 0; place < lower; place += 2) {
    const offset = page.readUInt16LE(PAGE_HEADER_BYTES + place);
    if (offset < upper || offset + NODE_HEADER_BYTES > bodyBytes) throw new Damage(`page ${number} has no plan`);
    yield page.subarray(PAGE_HEADER_BYTES + offset);
  }
}

function keyOf(node: Buffer, number: bigint): Buffer {
  const end = NODE_HEADER_BYTES + node.readUInt16LE(6);
  if (end === NODE_HEADER_BYTES || end > node.length) throw new Damage(`a row of page ${number} has no key`);
  return node.subarray(NODE_HEADER_BYTES, end);
}
