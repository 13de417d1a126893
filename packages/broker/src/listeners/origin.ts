import { isIP } from "node:net";

export interface OriginRequest {
  /** The Origin header, as browsers and some other clients send it. */
  readonly origin: string;
  /** The Host header of the same request. */
  readonly host: string | undefined;
  /** Whether the listener has a certificate, which a page under a foreign name cannot get past. */
  readonly tls: boolean;
  /** The origins that the listener lists. */
  readonly listed: readonly string[];
}

/**
 * Whether a WebSocket may be opened under this origin: one that is listed, or the very host that is connected to, which clients
 * that are no browsers (Paho for Python) name. A page may point its own name at our address and then names that host, too: so
 * without TLS the host must be an address or `localhost`, which no page's owner can point anywhere. @see RFC 6455 §10.2
 */
export function mayOpen({ origin, host, tls, listed }: OriginRequest): boolean {
  if (listed.includes(origin)) return true;
  const [, authority] = /^https?:\/\/([^/?#\s@]+)$/i.exec(origin) ?? [];
  if (authority === undefined || authority.toLowerCase() !== host?.toLowerCase()) return false;
  const name = authority.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
  return tls || isIP(name) !== 0 || name.toLowerCase() === "localhost";
}
