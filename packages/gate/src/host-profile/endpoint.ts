import { isIP, isIPv4 } from "node:net";

/** What a profile lets through: a port of this machine (in) or of another (out), for one peer or for all. */
export type Endpoint = {
  readonly protocol: "tcp" | "udp";
  readonly port: number;
  /** An address or a prefix such as `10.0.0.0/8`; absent: anybody. */
  readonly peer?: string | undefined;
  /** What it is for; shown beside the rule. */
  readonly purpose?: string | undefined;
};

const pattern = /^(tcp|udp)\/(\d{1,5})(?:@(.+))?$/;

/** Reads `tcp/22` or `udp/53@192.168.1.1`; `undefined` for what is neither. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const [, protocol, digits, peer] = pattern.exec(text) ?? [];
  const port = Number(digits);
  if ((protocol !== "tcp" && protocol !== "udp") || !(port >= 1 && port <= 65_535)) return undefined;
  if (peer === undefined) return { protocol, port };
  return isPeer(peer) ? { protocol, port, peer } : undefined;
}

/** Whether a text is an address or a prefix, without a zone. */
export function isPeer(text: string): boolean {
  const [address = "", length, ...rest] = text.split("/");
  if (isIP(address) === 0 || address.includes("%") || rest.length > 0) return false;
  return length === undefined || (/^\d{1,3}$/.test(length) && Number(length) <= (isIPv4(address) ? 32 : 128));
}

/** As one writes it. */
export function formatEndpoint({ protocol, port, peer }: Endpoint): string {
  return `${protocol}/${port}${peer === undefined ? "" : `@${peer}`}`;
}
