import { fstatSync, readSync } from "node:fs";

import {
  checkPage,
  compareKeys,
  HEADER_BYTES,
  LmdbFileDamage,
  type Meta,
  NODE_HEADER_BYTES,
  nodeKey,
  nodeOffset,
  PageKind,
  pageKind,
  readMetas,
  toNumber,
  type Tree,
} from "./file-layout.ts";

/*
 * LMDB trusts its file: a damaged page number or offset makes it read or write outside its map, which ends the
 * process with a signal. So the whole structure is proved here, by plain reads, before LMDB is let near the file.
 */

const DEPTH_MAX = 32;

export interface LmdbFileReport {
  readonly pageBytes: number;
  /** Pages that hold the current data. */
  readonly usedPages: number;
  /** Pages that the free list offers for reuse. */
  readonly freePages: number;
  readonly entries: number;
  readonly transaction: number;
}

export interface LmdbFileCheckOptions {
  /** Called for every row in key order; both views are valid during the call only. Throws to call the row damaged. */
  readonly onRow?: ((key: Buffer, value: Buffer) => void) | undefined;
  /** Called every few thousand pages, and when all is done. */
  readonly onProgress?: ((pagesDone: number, pagesTotal: number) => void) | undefined;
}

const PAGES_READ_AHEAD = 16;

/** Takes turns with the event loop: this many pages are looked at in one go. */
const PAGES_PER_TURN = 2048;

/**
 * Proves that the LMDB file open as `fd` can be used without harm: metas, every reachable page, the order of the
 * keys, the counts, and that the free list offers no page that is in use.
 * @throws {LmdbFileDamage} saying what is wrong.
 */
export async function checkLmdbFile(fd: number, options: LmdbFileCheckOptions = {}): Promise<LmdbFileReport> {
  const check = new FileCheck(fd, options);
  for (const pagesDone of check.run()) {
    options.onProgress?.(pagesDone, check.meta.lastPage + 1);
    await new Promise(setImmediate);
  }
  options.onProgress?.(check.meta.lastPage + 1, check.meta.lastPage + 1);
  return check.report();
}

class FileCheck {
  readonly meta: Meta;
  readonly #fd: number;
  readonly #options: LmdbFileCheckOptions;
  readonly #seen: Uint8Array;
  /** Pages that lie together are often asked for together. */
  readonly #ahead: Buffer;
  #aheadFirst = -1;
  #aheadBytes = 0;
  /** One page buffer for each level of a tree, so that a parent survives the visit of its children. */
  readonly #levels: Buffer[] = [];
  #pagesDone = 0;
  #nextTurn = PAGES_PER_TURN;
  #freePages = 0;
  #lastKey: Buffer | undefined;
  #counts = { branch: 0, leaf: 0, overflow: 0, entries: 0 };

  constructor(fd: number, options: LmdbFileCheckOptions) {
    this.#fd = fd;
    this.#options = options;
    this.meta = readMetas(fd, fstatSync(fd).size);
    this.#seen = new Uint8Array(Math.ceil((this.meta.lastPage + 1) / 8));
    this.#ahead = Buffer.allocUnsafe(PAGES_READ_AHEAD * this.meta.pageBytes);
    this.#mark(0);
    this.#mark(1);
  }

  report(): LmdbFileReport {
    return {
      pageBytes: this.meta.pageBytes,
      usedPages: this.#pagesDone,
      freePages: this.#freePages,
      entries: this.meta.main.entries,
      transaction: this.meta.transaction,
    };
  }

  /** Yields the number of pages done so far, now and then. */
  *run(): Generator<number, void> {
    const freeLists: Buffer[] = [];
    yield* this.#tree(this.meta.free, (_key, value) => freeLists.push(Buffer.from(value)));
    yield* this.#tree(this.meta.main, this.#options.onRow ?? (() => {}));
    // Last, when every page in use is known.
    for (const list of freeLists) this.#freeList(list);
  }

  *#tree(tree: Tree, onRow: (key: Buffer, value: Buffer) => void): Generator<number, void> {
    this.#lastKey = undefined;
    this.#counts = { branch: 0, leaf: 0, overflow: 0, entries: 0 };
    if (tree.root === undefined) {
      if (tree.entries !== 0) throw new LmdbFileDamage(`the ${tree.name} tree has entries but no root`);
      return;
    }
    if (tree.depth < 1 || tree.depth > DEPTH_MAX) {
      throw new LmdbFileDamage(`the ${tree.name} tree has an impossible depth of ${tree.depth}`);
    }
    yield* this.#page(tree, tree.root, 1, undefined, onRow);
    const { branch, leaf, overflow, entries } = this.#counts;
    if (
      branch !== tree.branchPages ||
      leaf !== tree.leafPages ||
      overflow !== tree.overflowPages ||
      entries !== tree.entries
    ) {
      throw new LmdbFileDamage(`the ${tree.name} tree's counts do not agree with its pages`);
    }
  }

  *#page(
    tree: Tree,
    pageNumber: number,
    level: number,
    keyMin: Buffer | undefined,
    onRow: (key: Buffer, value: Buffer) => void,
  ): Generator<number, void> {
    const page = this.#load(pageNumber, level);
    const isLeaf = level === tree.depth;
    const nodeCount = checkPage(page, pageNumber, isLeaf ? PageKind.leaf : PageKind.branch);
    if (this.#pagesDone >= this.#nextTurn) {
      this.#nextTurn = this.#pagesDone + PAGES_PER_TURN;
      yield this.#pagesDone;
    }
    if (isLeaf) {
      this.#counts.leaf += 1;
      this.#leaf(tree, page, nodeCount, keyMin, onRow);
      return;
    }
    this.#counts.branch += 1;
    if (nodeCount < 2) throw new LmdbFileDamage(`branch page ${pageNumber} has ${nodeCount} children`);
    for (let index = 0; index < nodeCount; index += 1) {
      const node = nodeOffset(page, index);
      const child = page.readUIntLE(node, 6);
      // The first child has no lower bound of its own: its key is empty or left over.
      const childMin = index === 0 ? keyMin : nodeKey(page, node);
      if (index > 0) this.#checkOrder(tree, childMin, pageNumber, false);
      yield* this.#page(tree, child, level + 1, childMin, onRow);
    }
  }

  #leaf(
    tree: Tree,
    page: Buffer,
    nodeCount: number,
    keyMin: Buffer | undefined,
    onRow: (key: Buffer, value: Buffer) => void,
  ): void {
    const pageNumber = Number(page.readBigUInt64LE(0));
    for (let index = 0; index < nodeCount; index += 1) {
      const node = nodeOffset(page, index);
      const key = nodeKey(page, node);
      if (key.length === 0) throw new LmdbFileDamage(`page ${pageNumber} has an empty key`);
      if (index === 0 && keyMin !== undefined && compareKeys(tree, key, keyMin) < 0) {
        throw new LmdbFileDamage(`page ${pageNumber} begins below its parent's key`);
      }
      this.#checkOrder(tree, key, pageNumber, true);
      this.#counts.entries += 1;
      onRow(key, this.#value(page, node, key.length));
    }
    const last = nodeKey(page, nodeOffset(page, nodeCount - 1));
    this.#lastKey = Buffer.from(last);
  }

  #checkOrder(tree: Tree, key: Buffer | undefined, pageNumber: number, remember: boolean): void {
    if (key !== undefined && this.#lastKey !== undefined && compareKeys(tree, this.#lastKey, key) >= 0) {
      throw new LmdbFileDamage(`the keys of page ${pageNumber} are out of order`);
    }
    if (remember) this.#lastKey = key;
  }

  #value(page: Buffer, node: number, keyBytes: number): Buffer {
    const valueBytes = page.readUInt32LE(node);
    const flags = page.readUInt16LE(node + 4);
    const start = node + NODE_HEADER_BYTES + keyBytes;
    if (flags === 0) return page.subarray(start, start + valueBytes);
    // checkPage has seen to it that no other flag is set and that the reference is within the page.
    const first = toNumber(page.readBigUInt64LE(start));
    const pages = toNumber(page.readBigUInt64LE(start + 16));
    // A value that was overwritten with a shorter one in the same transaction keeps its pages.
    if (pages * this.meta.pageBytes < HEADER_BYTES + valueBytes) {
      throw new LmdbFileDamage(`a value of ${valueBytes} bytes does not fit in the pages its row claims`);
    }
    const bytes = this.#loadRow(first, pages);
    this.#counts.overflow += pages;
    if (
      toNumber(bytes.readBigUInt64LE(0)) !== first ||
      pageKind(bytes) !== PageKind.overflow ||
      bytes.readUInt32LE(20) !== pages
    ) {
      throw new LmdbFileDamage(`page ${first} is not the overflow page its row points to`);
    }
    return bytes.subarray(HEADER_BYTES, HEADER_BYTES + valueBytes);
  }

  #freeList(list: Buffer): void {
    if (list.length < 8 || list.length % 8 !== 0) throw new LmdbFileDamage("a free list has an odd length");
    const count = toNumber(list.readBigUInt64LE(0));
    if (count > list.length / 8 - 1) throw new LmdbFileDamage("a free list is longer than its row");
    for (let index = 1; index <= count; index += 1) {
      const entry = list.readBigInt64LE(index * 8);
      if (entry === 0n) continue;
      const length = entry < 0n ? toNumber(-entry) : 1;
      if (entry < 0n) index += 1;
      if (index > count) throw new LmdbFileDamage("a free list ends within a run of pages");
      const first = toNumber(list.readBigUInt64LE(index * 8));
      if (first + length > this.meta.lastPage + 1)
        throw new LmdbFileDamage("a free list names pages beyond the last");
      for (let page = first; page < first + length; page += 1) this.#mark(page);
      this.#freePages += length;
    }
  }

  #load(pageNumber: number, level: number): Buffer {
    this.#mark(pageNumber);
    const { pageBytes } = this.meta;
    const index = pageNumber % PAGES_READ_AHEAD;
    if (pageNumber - index !== this.#aheadFirst) {
      const aheadFirst = pageNumber - index;
      const position = aheadFirst * pageBytes;
      this.#aheadBytes = readSync(this.#fd, this.#ahead, 0, this.#ahead.length, position);
      this.#aheadFirst = aheadFirst;
    }
    const start = index * pageBytes;
    if (start + pageBytes > this.#aheadBytes)
      throw new LmdbFileDamage(`page ${pageNumber} lies beyond the end`);
    this.#pagesDone += 1;
    const page = (this.#levels[level] ??= Buffer.allocUnsafe(pageBytes));
    this.#ahead.copy(page, 0, start, start + pageBytes);
    return page;
  }

  /** Pages in a row, for a large value. */
  #loadRow(pageNumber: number, pages: number): Buffer {
    for (let index = 0; index < pages; index += 1) this.#mark(pageNumber + index);
    const bytes = Buffer.allocUnsafe(pages * this.meta.pageBytes);
    const position = pageNumber * this.meta.pageBytes;
    if (readSync(this.#fd, bytes, 0, bytes.length, position) !== bytes.length) {
      throw new LmdbFileDamage(`page ${pageNumber} lies beyond the end`);
    }
    this.#pagesDone += pages;
    return bytes;
  }

  #mark(pageNumber: number): void {
    if (pageNumber > this.meta.lastPage)
      throw new LmdbFileDamage(`page ${pageNumber} is beyond the last page`);
    const bit = 1 << (pageNumber & 7);
    const seen = this.#seen[pageNumber >>> 3] ?? 0;
    if ((seen & bit) !== 0) throw new LmdbFileDamage(`page ${pageNumber} is used twice`);
    this.#seen[pageNumber >>> 3] = seen | bit;
  }
}
