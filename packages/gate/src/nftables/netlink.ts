import { FirewallRefusedError, FirewallUnavailableError } from "../errors.ts";
import type { Native } from "./native.ts";

/** @see linux/netlink.h, linux/netfilter/nfnetlink.h */
const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const NETLINK_NETFILTER = 12;
const NLM_F_REQUEST = 1;
const NLM_F_DUMP = 0x300;
const NLM_F_DUMP_INTR = 0x10;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NFNL_SUBSYS_NFTABLES = 10;
const NFPROTO_INET = 1;
const ENOENT = 2;

const messageHeaderBytes = 16;
const familyHeaderBytes = 4;
const attributeHeaderBytes = 4;

/** What a dump writes into; the kernel fills at most 32 KiB at once. */
const receiveBytes = 65_536;

/** Requests that read, with the number of their message. @see linux/netfilter/nf_tables.h */
export const Get = {
  table: 1,
  chain: 4,
  rule: 7,
  set: 10,
  setElement: 13,
  generation: 16,
  object: 19,
} as const;
export type Get = (typeof Get)[keyof typeof Get];

/** Reads nftables straight from the kernel: in microseconds, where a listing by libnftables fetches and formats every element. */
export interface Netlink extends Disposable {
  /** The number of the last change to any table of this network namespace. It goes up by one with each transaction. */
  generation(): number;
  /** The attributes of one object, or `undefined` when there is none. */
  get(what: Get, attributes: Uint8Array): Buffer | undefined;
  /** Calls `take` with the attributes of each object. False when there is nothing by this name. */
  dump(what: Get, attributes: Uint8Array, take: (attributes: Buffer) => void): boolean;
}

/** Throws `FirewallUnavailableError` when the kernel has no netlink for us. */
export function openNetlink(native: Native): Netlink {
  const socket = native.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
  if (socket < 0) {
    throw new FirewallUnavailableError(
      "This kernel gives no netlink socket for nftables, so ports cannot be hidden.",
    );
  }
  const buffer = Buffer.alloc(receiveBytes);
  let sequence = 0;
  let isOpen = true;

  function request(what: Get, flags: number, attributes: Uint8Array): void {
    if (!isOpen) throw new FirewallUnavailableError("the firewall was closed");
    const message = Buffer.alloc(messageHeaderBytes + familyHeaderBytes + attributes.length);
    message.writeUInt32LE(message.length, 0);
    message.writeUInt16LE((NFNL_SUBSYS_NFTABLES << 8) | what, 4);
    message.writeUInt16LE(NLM_F_REQUEST | flags, 6);
    message.writeUInt32LE(++sequence, 8);
    message.writeUInt8(NFPROTO_INET, messageHeaderBytes);
    message.set(attributes, messageHeaderBytes + familyHeaderBytes);
    if (native.send(socket, message, message.length, 0) !== message.length) {
      throw new FirewallRefusedError("The kernel does not take a question about the firewall.");
    }
  }

  /** Calls `take` with each message of the answer until there is no more; "none" when what was asked for is not there. */
  function answers(isDump: boolean, take: (attributes: Buffer) => void): "all" | "none" | "interrupted" {
    let interrupted = false;
    for (;;) {
      const received = native.receive(socket, buffer, buffer.length, 0);
      if (received <= 0)
        throw new FirewallRefusedError("The kernel does not answer a question about the firewall.");
      for (let at = 0; at + messageHeaderBytes <= received;) {
        const length = buffer.readUInt32LE(at);
        const type = buffer.readUInt16LE(at + 4);
        if (length < messageHeaderBytes || at + length > received) break;
        // What is left of an answer that was given up is not ours.
        if (buffer.readUInt32LE(at + 8) === sequence) {
          if ((buffer.readUInt16LE(at + 6) & NLM_F_DUMP_INTR) !== 0) interrupted = true;
          if (type === NLMSG_ERROR || type === NLMSG_DONE) {
            const code = length >= messageHeaderBytes + 4 ? -buffer.readInt32LE(at + messageHeaderBytes) : 0;
            if (code === ENOENT) return "none";
            if (code > 0)
              throw new FirewallRefusedError(
                `The kernel refuses a question about the firewall (errno ${code}).`,
              );
            return interrupted ? "interrupted" : "all";
          }
          take(Buffer.from(buffer.subarray(at + messageHeaderBytes + familyHeaderBytes, at + length)));
          if (!isDump) return "all";
        }
        at += aligned(length);
      }
    }
  }

  const empty = Buffer.alloc(0);
  return {
    generation() {
      request(Get.generation, 0, empty);
      let found = 0;
      answers(false, (attributes) => (found = attribute(attributes, 1)?.readUInt32BE(0) ?? 0));
      return found;
    },
    get(what, attributes) {
      request(what, 0, attributes);
      let found: Buffer | undefined;
      answers(false, (answer) => (found = answer));
      return found;
    },
    dump(what, attributes, take) {
      for (let attempt = 0; attempt < dumpAttemptsMax; attempt++) {
        request(what, NLM_F_DUMP, attributes);
        const taken: Buffer[] = [];
        const end = answers(true, (answer) => taken.push(answer));
        if (end === "none") return false;
        if (end === "interrupted") continue;
        for (const answer of taken) take(answer);
        return true;
      }
      throw new FirewallRefusedError("The firewall changes faster than it can be read.");
    },
    [Symbol.dispose]() {
      if (isOpen) native.close(socket);
      isOpen = false;
    },
  };
}

/** Somebody else may change a table while it is read; the kernel says so, and it is read again. */
const dumpAttemptsMax = 20;

function aligned(length: number): number {
  return (length + 3) & ~3;
}

/** An attribute that holds a text with its end. */
export function textAttribute(type: number, text: string): Buffer {
  const value = Buffer.from(`${text}\0`, "latin1");
  const bytes = Buffer.alloc(aligned(attributeHeaderBytes + value.length));
  bytes.writeUInt16LE(attributeHeaderBytes + value.length, 0);
  bytes.writeUInt16LE(type, 2);
  bytes.set(value, attributeHeaderBytes);
  return bytes;
}

/** The two high bits of a type say "nested" and "network byte order". */
const typeMask = 0x3fff;

/** The attributes that stand one after the other in `bytes`, with their type. */
export function* attributesOf(bytes: Buffer): Generator<readonly [type: number, value: Buffer]> {
  for (let at = 0; at + attributeHeaderBytes <= bytes.length;) {
    const length = bytes.readUInt16LE(at);
    if (length < attributeHeaderBytes || at + length > bytes.length) return;
    yield [bytes.readUInt16LE(at + 2) & typeMask, bytes.subarray(at + attributeHeaderBytes, at + length)];
    at += aligned(length);
  }
}

/** The value of the first attribute of a type. */
export function attribute(bytes: Buffer, wanted: number): Buffer | undefined {
  for (let at = 0; at + attributeHeaderBytes <= bytes.length;) {
    const length = bytes.readUInt16LE(at);
    if (length < attributeHeaderBytes || at + length > bytes.length) return undefined;
    if ((bytes.readUInt16LE(at + 2) & typeMask) === wanted) {
      return bytes.subarray(at + attributeHeaderBytes, at + length);
    }
    at += aligned(length);
  }
  return undefined;
}

/** An attribute's text without its end. */
export function textOf(value: Buffer | undefined): string {
  return value?.toString("latin1").replace(/\0+$/, "") ?? "";
}
