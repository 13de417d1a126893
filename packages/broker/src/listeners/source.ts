import { BlockList, isIPv6 } from "node:net";

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** IPv4 addresses of a socket for both families come written as IPv6. */
function plain(address: string): string {
  return address.startsWith("::ffff:") ? address.slice("::ffff:".length) : address;
}

/** Whether an address is the machine's own; a Unix socket has the empty one. */
export function isLoopback(address: string): boolean {
  if (address === "") return true;
  const own = plain(address);
  return loopback.check(own, isIPv6(own) ? "ipv6" : "ipv4");
}

/**
 * Whom an address is counted as: an IPv4 address as itself, an IPv6 address as its /64, which is the least that one subscriber is
 * given and may choose addresses from at will. @see RFC 6177
 */
export function sourceOf(address: string): string {
  const own = plain(address);
  if (!isIPv6(own)) return own;
  const [head = "", tail] = (own.split("%", 1)[0] ?? "").split("::");
  const left = groupsOf(head);
  const right = groupsOf(tail ?? "");
  const zeros = Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => "0");
  return `${[...left, ...zeros, ...right].slice(0, 4).join(":")}::/64`;
}

function groupsOf(text: string): string[] {
  return text === "" ? [] : text.split(":");
}
