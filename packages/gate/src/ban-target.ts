import { isIPv4 } from "node:net";

import { ipBytes, ipSource, parseIpAddress, type IpAddress, type IpSource } from "@postern/knock/ip-address";

/** What may be locked out at an operator's word. */
export type BanTarget =
  | { readonly kind: "source"; readonly source: IpSource }
  /** It locks out more than its address says: to be asked twice. */
  | { readonly kind: "wide"; readonly source: IpSource; readonly why: string }
  /** It would do nothing, or cannot be done. */
  | { readonly kind: "refused"; readonly why: string };

/** Blocks that no connection comes from: of IPv4 mapped into IPv6 as `ipBytes` writes it. */
const nowhere: readonly (readonly [prefix: string, bits: number, what: string])[] = [
  ["0.0.0.0", 8, "no machine's address"],
  ["127.0.0.0", 8, "this machine itself, which the gate lets in anyway"],
  ["224.0.0.0", 4, "a multicast address, which nothing is sent from"],
  ["240.0.0.0", 4, "no machine's address"],
  ["::", 128, "no machine's address"],
  ["::1", 128, "this machine itself, which the gate lets in anyway"],
  ["ff00::", 8, "a multicast address, which nothing is sent from"],
];

const linkLocal = "fe80::/64";

/**
 * Judges what an operator asks to lock out: an address, or the /64 of an IPv6 address. `own` are the addresses of this machine.
 */
export function banTarget(text: string, own: readonly IpAddress[]): BanTarget {
  const [head = "", length, ...rest] = text.split("/");
  const address = parseIpAddress(head);
  if (address === undefined || rest.length > 0 || (length !== undefined && !/^\d{1,3}$/.test(length)))
    return refused(`"${text}" is neither an IP address nor the /64 of one`);
  const wanted = isIPv4(address) ? 32 : 64;
  if (length !== undefined && Number(length) !== wanted && Number(length) !== bitsOf(address)) {
    return refused(
      Number(length) < wanted
        ? `${text} is too wide: the gate locks out single IPv4 addresses and /64 of IPv6; keep whole networks out with gate.registered, or with the machine's own firewall`
        : `${text} is no source of its own: the gate locks out single IPv4 addresses and /64 of IPv6`,
    );
  }
  const found = nowhere.find(([prefix, bits]) => isWithin(address, prefix, bits));
  if (found !== undefined) return refused(`${text} is ${found[2]}`);
  if (isIPv4(address) && own.includes(address))
    return refused(`${text} is this machine itself, which the gate lets in anyway`);
  const source = ipSource(address);
  if (own.some((each) => ipSource(each) === source))
    return { kind: "wide", source, why: `${source} is this machine's own network, with all that are in it` };
  if (source === linkLocal)
    return { kind: "wide", source, why: `${source} are all machines on every link of this one` };
  return { kind: "source", source };
}

function refused(why: string): BanTarget {
  return { kind: "refused", why };
}

function bitsOf(address: IpAddress): number {
  return isIPv4(address) ? 32 : 128;
}

function isWithin(address: IpAddress, prefix: string, bits: number): boolean {
  const other = parseIpAddress(prefix);
  if (other === undefined || isIPv4(address) !== isIPv4(other)) return false;
  const [a, b] = [ipBytes(address), ipBytes(other)];
  const from = isIPv4(address) ? 96 : 0;
  for (let bit = from; bit < from + bits; bit++) {
    const mask = 0x80 >> (bit % 8);
    if (((a[bit >> 3] ?? 0) & mask) !== ((b[bit >> 3] ?? 0) & mask)) return false;
  }
  return true;
}
