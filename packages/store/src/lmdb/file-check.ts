import { fstatSync, readSync } from "node:fs";

/*
 * LMDB trusts its file: a damaged page number or offset makes it read or write outside its map, which ends the
 * process with a signal. So the whole structure is proved here, by plain reads, before LMDB is let near the file.
 *
 * The file as lmdb-js 3 writes it (LMDB data version 2, little endian, 64 bit):
 *
 *   page header   0 page number u64 | 8 transaction u64 | 16 pad u16 | 18 flags u16 | 20 lower u16 | 22 upper u16
 *                 (an overflow page has its count of pages, u32, at 20)
 *   branch, leaf  header | offsets u16[lower / 2], from the end of the header | free space | nodes, from `upper` on
 *   leaf node     data size u32 | flags u16 | key size u16 | key | data, or { page u64, transaction u64, pages u64 }
 *   branch node   page number u48 | key size u16 | key
 *   meta          header | 24 magic u32 | 28 version u32 | 32 address | 40 map size | 48 free tree | 96 main tree
 *                 | 144 last page u64 | 152 transaction u64
 *   tree          0 pad u32 (page size in the free tree) | 4 flags u16 | 6 depth u16 | 8 branch pages u64
 *                 | 16 leaf pages u64 | 24 overflow pages u64 | 32 entries u64 | 40 root u64 (all ones: empty)
 *   free list     value of the free tree: count u64, then page numbers, where -n means that n pages follow in a row
 *                 from the next number on, and 0 means nothing
 */

const HEADER_BYTES = 24;
const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;
const NO_PAGE = 0xffff_ffff_ffff_ffffn;
const PAGE_BYTES_MIN = 512;
const PAGE_BYTES_MAX = 65_536;
const DEPTH_MAX = 32;
const BRANCH = 0x01;
const LEAF = 0x02;
const OVERFLOW = 0x04;
const META = 0x08;
const KIND_MASK = 0x7f;
/** Whole numbers as keys; the rest says how LMDB was opened (`noSubdir`), which it keeps here too. */
const FREE_TREE_FLAGS = 0x4008;
const MAIN_TREE_FLAGS = 0;
/** More than any process can map. */
const MAP_BYTES_MAX = 2n ** 47n;
const NODE_BIG_DATA = 0x01;
const NODE_HEADER_BYTES = 8;

/** Why a file is not a sound LMDB file. */
export class LmdbFileDamage extends Error {}

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

interface Tree {
  readonly name: "free" | "main";
  readonly depth: number;
  readonly branchPages: number;
  readonly leafPages: number;
  readonly overflowPages: number;
  readonly entries: number;
  /** `undefined` when the tree is empty. */
  readonly root: number | undefined;
}

interface Meta {
  readonly pageBytes: number;
  readonly free: Tree;
  readonly main: Tree;
  readonly lastPage: number;
  readonly transaction: number;
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
    const nodeCount = checkPage(page, pageNumber, isLeaf ? LEAF : BRANCH);
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
      (bytes.readUInt16LE(18) & KIND_MASK) !== OVERFLOW ||
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

/** @returns the number of nodes, after proving that each lies within the page. */
function checkPage(page: Buffer, pageNumber: number, kind: number): number {
  const lower = page.readUInt16LE(20);
  const upper = page.readUInt16LE(22);
  const roomBytes = page.length - HEADER_BYTES;
  if (
    toNumber(page.readBigUInt64LE(0)) !== pageNumber ||
    (page.readUInt16LE(18) & KIND_MASK) !== kind ||
    lower % 2 !== 0 ||
    lower === 0 ||
    lower > upper ||
    upper > roomBytes
  ) {
    throw new LmdbFileDamage(
      `page ${pageNumber} is not the ${kind === LEAF ? "leaf" : "branch"} page expected there`,
    );
  }
  const nodeCount = lower / 2;
  let nodesBytes = 0;
  for (let index = 0; index < nodeCount; index += 1) {
    const offset = page.readUInt16LE(HEADER_BYTES + index * 2);
    if (offset < upper || offset % 2 !== 0 || offset + NODE_HEADER_BYTES > roomBytes) {
      throw new LmdbFileDamage(`page ${pageNumber} has a node outside itself`);
    }
    const nodeBytes = checkNode(page, HEADER_BYTES + offset, kind);
    if (offset + nodeBytes > roomBytes)
      throw new LmdbFileDamage(`page ${pageNumber} has a node that does not end`);
    nodesBytes += nodeBytes + (nodeBytes & 1);
  }
  if (nodesBytes > roomBytes - upper) throw new LmdbFileDamage(`page ${pageNumber} has nodes that overlap`);
  return nodeCount;
}

/** @returns the bytes of the node with its header. */
function checkNode(page: Buffer, node: number, kind: number): number {
  const keyBytes = page.readUInt16LE(node + 6);
  if (kind === BRANCH) return NODE_HEADER_BYTES + keyBytes;
  const flags = page.readUInt16LE(node + 4);
  if (flags !== 0 && flags !== NODE_BIG_DATA)
    throw new LmdbFileDamage("a row is of a kind that is never written");
  return NODE_HEADER_BYTES + keyBytes + (flags === NODE_BIG_DATA ? 24 : page.readUInt32LE(node));
}

function nodeOffset(page: Buffer, index: number): number {
  return HEADER_BYTES + page.readUInt16LE(HEADER_BYTES + index * 2);
}

function nodeKey(page: Buffer, node: number): Buffer {
  const start = node + NODE_HEADER_BYTES;
  return page.subarray(start, start + page.readUInt16LE(node + 6));
}

function compareKeys(tree: Tree, left: Buffer, right: Buffer): number {
  if (tree.name === "main") return Buffer.compare(left, right);
  if (left.length !== 8 || right.length !== 8)
    throw new LmdbFileDamage("a key of the free tree is not eight bytes");
  const difference = left.readBigUInt64LE(0) - right.readBigUInt64LE(0);
  return difference < 0n ? -1 : Number(difference > 0n);
}

function readMetas(fd: number, fileBytes: number): Meta {
  const first = readMeta(fd, 0, 0, fileBytes);
  const second = readMeta(fd, 1, first.pageBytes, fileBytes);
  if (second.pageBytes !== first.pageBytes)
    throw new LmdbFileDamage("the two meta pages disagree on the page size");
  const fresh = first.transaction === 0 && second.transaction === 0;
  // Transaction n writes meta page n % 2, so the two are always one apart.
  if (!fresh) {
    if (Math.abs(first.transaction - second.transaction) !== 1 || first.transaction % 2 !== 0) {
      throw new LmdbFileDamage("the two meta pages do not follow one another");
    }
  }
  return second.transaction > first.transaction ? second : first;
}

function readMeta(fd: number, index: number, position: number, fileBytes: number): Meta {
  const bytes = Buffer.alloc(160);
  if (
    position + bytes.length > fileBytes ||
    readSync(fd, bytes, 0, bytes.length, position) !== bytes.length
  ) {
    throw new LmdbFileDamage(`the file ends (at ${fileBytes} bytes) before meta page ${index}`);
  }
  const pageBytes = bytes.readUInt32LE(48);
  if (
    toNumber(bytes.readBigUInt64LE(0)) !== index ||
    (bytes.readUInt16LE(18) & KIND_MASK) !== META ||
    bytes.readUInt32LE(24) !== MAGIC ||
    bytes.readUInt32LE(28) !== DATA_VERSION ||
    bytes.readBigUInt64LE(32) !== 0n ||
    bytes.readBigUInt64LE(40) > MAP_BYTES_MAX ||
    bytes.readUInt16LE(52) !== FREE_TREE_FLAGS ||
    bytes.readUInt32LE(96) !== 0 ||
    bytes.readUInt16LE(100) !== MAIN_TREE_FLAGS ||
    pageBytes < PAGE_BYTES_MIN ||
    pageBytes > PAGE_BYTES_MAX ||
    (pageBytes & (pageBytes - 1)) !== 0
  ) {
    throw new LmdbFileDamage(`meta page ${index} is not one`);
  }
  return {
    pageBytes,
    free: readTree("free", bytes, 48),
    main: readTree("main", bytes, 96),
    lastPage: checkLastPage(toNumber(bytes.readBigUInt64LE(144))),
    transaction: toNumber(bytes.readBigUInt64LE(152)),
  };
}

/** A bit map of the pages is made: a damaged number must not ask for all memory. 2^32 pages are 16 TiB. */
function checkLastPage(lastPage: number): number {
  if (lastPage < 1 || lastPage > 2 ** 32 - 1) throw new LmdbFileDamage(`the last page cannot be ${lastPage}`);
  return lastPage;
}

function readTree(name: "free" | "main", bytes: Buffer, at: number): Tree {
  const root = bytes.readBigUInt64LE(at + 40);
  return {
    name,
    depth: bytes.readUInt16LE(at + 6),
    branchPages: toNumber(bytes.readBigUInt64LE(at + 8)),
    leafPages: toNumber(bytes.readBigUInt64LE(at + 16)),
    overflowPages: toNumber(bytes.readBigUInt64LE(at + 24)),
    entries: toNumber(bytes.readBigUInt64LE(at + 32)),
    root: root === NO_PAGE ? undefined : toNumber(root),
  };
}

function toNumber(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER))
    throw new LmdbFileDamage(`${value} cannot be a page, count or size`);
  return Number(value);
}
