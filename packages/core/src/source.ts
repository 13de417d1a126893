import { isIPv6 } from "node:net";

/**
 * Whom an address counts as: an IPv4 address stands for itself, also when it is written as IPv6; of an IPv6 address only the
 * first 64 bits count, since whoever has one address has all of its network. `local` for a Unix socket.
 */
export function sourceOf(address: string): string {
  if (address === "") return "local";
  const [plain = ""] = address.split("%", 1);
  if (!isIPv6(plain)) return plain;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(plain)?.[1];
  if (mapped !== undefined) return mapped;
  const groups = groupsOf(plain);
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":")}::/64`;
}

/** The groups of an IPv6 address, the first four of eight for sure: an IPv4 address can only stand for the last two. */
function groupsOf(address: string): readonly string[] {
  const [before = "", after] = address.split("::");
  const head = before === "" ? [] : before.split(":");
  if (after === undefined) return head;
  const tail = after === "" ? [] : after.split(":");
  return [...head, ...Array.from({ length: 8 - head.length - tail.length }, () => "0"), ...tail];
}
