import { readSync } from "node:fs";

/*
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

export const HEADER_BYTES = 24;
const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;
const NO_PAGE = 0xffff_ffff_ffff_ffffn;
const PAGE_BYTES_MIN = 512;
const PAGE_BYTES_MAX = 65_536;
const KIND_MASK = 0x7f;
/** Whole numbers as keys; the rest says how LMDB was opened (`noSubdir`), which it keeps here too. */
const FREE_TREE_FLAGS = 0x4008;
const MAIN_TREE_FLAGS = 0;
/** More than any process can map. */
const MAP_BYTES_MAX = 2n ** 47n;
const NODE_BIG_DATA = 0x01;
export const NODE_HEADER_BYTES = 8;

/** What a page is, as its flags say. */
export const PageKind = { branch: 0x01, leaf: 0x02, overflow: 0x04, meta: 0x08 } as const;

/** Why a file is not a sound LMDB file. */
export class LmdbFileDamage extends Error {}

export interface Tree {
  readonly name: "free" | "main";
  readonly depth: number;
  readonly branchPages: number;
  readonly leafPages: number;
  readonly overflowPages: number;
  readonly entries: number;
  /** `undefined` when the tree is empty. */
  readonly root: number | undefined;
}

export interface Meta {
  readonly pageBytes: number;
  readonly free: Tree;
  readonly main: Tree;
  readonly lastPage: number;
  readonly transaction: number;
}

export function pageKind(page: Buffer): number {
  return page.readUInt16LE(18) & KIND_MASK;
}

/** @returns the number of nodes, after proving that each lies within the page. */
export function checkPage(page: Buffer, pageNumber: number, kind: number): number {
  const lower = page.readUInt16LE(20);
  const upper = page.readUInt16LE(22);
  const roomBytes = page.length - HEADER_BYTES;
  if (
    toNumber(page.readBigUInt64LE(0)) !== pageNumber ||
    pageKind(page) !== kind ||
    lower % 2 !== 0 ||
    lower === 0 ||
    lower > upper ||
    upper > roomBytes
  ) {
    throw new LmdbFileDamage(
      `page ${pageNumber} is not the ${kind === PageKind.leaf ? "leaf" : "branch"} page expected there`,
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
  if (kind === PageKind.branch) return NODE_HEADER_BYTES + keyBytes;
  const flags = page.readUInt16LE(node + 4);
  if (flags !== 0 && flags !== NODE_BIG_DATA)
    throw new LmdbFileDamage("a row is of a kind that is never written");
  return NODE_HEADER_BYTES + keyBytes + (flags === NODE_BIG_DATA ? 24 : page.readUInt32LE(node));
}

export function nodeOffset(page: Buffer, index: number): number {
  return HEADER_BYTES + page.readUInt16LE(HEADER_BYTES + index * 2);
}

export function nodeKey(page: Buffer, node: number): Buffer {
  const start = node + NODE_HEADER_BYTES;
  return page.subarray(start, start + page.readUInt16LE(node + 6));
}

export function compareKeys(tree: Tree, left: Buffer, right: Buffer): number {
  if (tree.name === "main") return Buffer.compare(left, right);
  if (left.length !== 8 || right.length !== 8)
    throw new LmdbFileDamage("a key of the free tree is not eight bytes");
  const difference = left.readBigUInt64LE(0) - right.readBigUInt64LE(0);
  return difference < 0n ? -1 : Number(difference > 0n);
}

export function readMetas(fd: number, fileBytes: number): Meta {
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
    pageKind(bytes) !== PageKind.meta ||
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

export function toNumber(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER))
    throw new LmdbFileDamage(`${value} cannot be a page, count or size`);
  return Number(value);
}
