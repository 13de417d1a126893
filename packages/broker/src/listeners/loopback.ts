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
