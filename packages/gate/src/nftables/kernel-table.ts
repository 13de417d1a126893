import { createHash } from "node:crypto";

import { attribute, attributesOf, Get, textAttribute, textOf, type Netlink } from "./netlink.ts";

/** Numbers of attributes. @see linux/netfilter/nf_tables.h */
const NFTA_TABLE = { name: 1 } as const;
const NFTA_CHAIN = { table: 1 } as const;
const NFTA_RULE = { table: 1 } as const;
const NFTA_SET = { table: 1, name: 2, lastKnown: 18 } as const;
const NFTA_SET_ELEM_LIST = { table: 1, set: 2, elements: 3 } as const;
const NFTA_SET_ELEM = { key: 1, timeout: 4, expiration: 5 } as const;
const NFTA_DATA_VALUE = 1;
const NFTA_OBJ = { table: 1, name: 2, data: 4 } as const;
const NFTA_COUNTER = { bytes: 1, packets: 2 } as const;

/** An element of a set: its key's bytes, and what is left of its time, `undefined` for one that stays. */
export type KernelElement = { readonly key: Buffer; readonly remainingMs: number | undefined };

/** Reads one table of the family `inet`. */
export class KernelTable {
  readonly #netlink: Netlink;
  readonly #name: string;

  constructor(netlink: Netlink, name: string) {
    this.#netlink = netlink;
    this.#name = name;
  }

  /** The number of the last change to any table of this network namespace. */
  generation(): number {
    return this.#netlink.generation();
  }

  exists(): boolean {
    return this.#netlink.get(Get.table, textAttribute(NFTA_TABLE.name, this.#name)) !== undefined;
  }

  /**
   * A digest of the table, its chains, rules and sets, without elements and counts; `undefined` when there is no table.
   * It holds their handles: a rule that was taken out and put back is a difference.
   */
  fingerprint(): string | undefined {
    const table = this.#netlink.get(Get.table, textAttribute(NFTA_TABLE.name, this.#name));
    if (table === undefined) return undefined;
    const digest = createHash("sha256").update(table);
    for (const chain of this.#objects(Get.chain, NFTA_CHAIN.table)) digest.update(chain);
    for (const rule of this.#objects(Get.rule, NFTA_RULE.table)) digest.update(rule);
    for (const set of this.#objects(Get.set, NFTA_SET.table)) {
      // Later kernels add how many elements the set has now.
      for (const [type, value] of attributesOf(set)) {
        if (type <= NFTA_SET.lastKnown) digest.update(Uint8Array.of(type)).update(value);
      }
    }
    return digest.digest("base64");
  }

  /** The elements of a set; `undefined` when there is no such set. */
  elements(set: string): KernelElement[] | undefined {
    const found: KernelElement[] = [];
    const name = Buffer.concat([
      textAttribute(NFTA_SET_ELEM_LIST.table, this.#name),
      textAttribute(NFTA_SET_ELEM_LIST.set, set),
    ]);
    const isThere = this.#netlink.dump(Get.setElement, name, (answer) => {
      for (const [, element] of attributesOf(
        attribute(answer, NFTA_SET_ELEM_LIST.elements) ?? Buffer.alloc(0),
      )) {
        const key = attribute(attribute(element, NFTA_SET_ELEM.key) ?? Buffer.alloc(0), NFTA_DATA_VALUE);
        if (key !== undefined) found.push({ key, remainingMs: remainingOf(element) });
      }
    });
    return isThere ? found : undefined;
  }

  /** Packets that each named counter has counted. */
  counters(): ReadonlyMap<string, number> {
    const found = new Map<string, number>();
    for (const object of this.#objects(Get.object, NFTA_OBJ.table)) {
      const packets = attribute(attribute(object, NFTA_OBJ.data) ?? Buffer.alloc(0), NFTA_COUNTER.packets);
      if (packets !== undefined)
        found.set(textOf(attribute(object, NFTA_OBJ.name)), Number(packets.readBigUInt64BE(0)));
    }
    return found;
  }

  /** Those of this table: the kernel lists some kinds for all tables. */
  #objects(what: Get, tableAttribute: number): Buffer[] {
    const found: Buffer[] = [];
    this.#netlink.dump(what, textAttribute(tableAttribute, this.#name), (object) => {
      if (textOf(attribute(object, tableAttribute)) === this.#name) found.push(object);
    });
    return found;
  }
}

function remainingOf(element: Buffer): number | undefined {
  const left = attribute(element, NFTA_SET_ELEM.expiration) ?? attribute(element, NFTA_SET_ELEM.timeout);
  return left === undefined ? undefined : Number(left.readBigUInt64BE(0));
}
