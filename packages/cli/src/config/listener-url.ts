import { isIP } from "node:net";

import { hostAndPort } from "@postern/core/host";

/** What a listener speaks: MQTT over TCP or TLS, over WebSocket or secure WebSocket, or over a Unix socket. */
export type ListenerKind = "mqtt" | "mqtts" | "ws" | "wss" | "unix";

/** Where a listener listens. */
export type ListenerAddress =
  | {
      readonly kind: Exclude<ListenerKind, "unix">;
      /** A host name or an IP address, IPv6 without brackets. */
      readonly host: string;
      /** 0 lets the system choose. */
      readonly port: number;
    }
  | { readonly kind: "unix"; readonly path: string };

/** @see the IANA registry for 1883 and 8883; RFC 6455 §3 for 80 and 443 */
const defaultPorts = { mqtt: 1883, mqtts: 8883, ws: 80, wss: 443 } as const;

const networkUrl =
  /^(mqtts?|wss?):\/\/(?:\[([0-9A-Fa-f:.]+)\]|([^/:@?#[\]\s]+))(?::(\d{1,5}))?(\/[^?#\s]*)?$/;
const unixUrl = /^unix:\/\/(\/[^\0]+)$/;

/** The longest path a Unix socket can have, in bytes: sockaddr_un without its final zero. */
const unixPathBytesMax = 107;

/** What is wrong with `url` as a listener's, or where it listens. */
export function parseListenerUrl(
  url: string,
): ListenerAddress | { readonly kind: "invalid"; readonly reason: string } {
  const unix = unixUrl.exec(url)?.[1];
  if (unix !== undefined) {
    return Buffer.byteLength(unix) > unixPathBytesMax
      ? {
          kind: "invalid",
          reason: `has a path of more than ${unixPathBytesMax} bytes, which no Unix socket can have`,
        }
      : { kind: "unix", path: unix };
  }
  const [matched, scheme, ipv6, name, portText, path] = networkUrl.exec(url) ?? [];
  const host = ipv6 ?? name;
  if (matched === undefined || host === undefined || (ipv6 !== undefined && isIP(ipv6) !== 6)) {
    return {
      kind: "invalid",
      reason: "must look like mqtts://127.0.0.1:8883, mqtt://…, wss://…, ws://… or unix:///path",
    };
  }
  const kind = scheme === "mqtt" || scheme === "mqtts" || scheme === "ws" ? scheme : "wss";
  const port = portText === undefined ? defaultPorts[kind] : Number(portText);
  if (port > 65_535) return { kind: "invalid", reason: `has the port ${port}; the highest is 65535` };
  if (path !== undefined && path !== "/") {
    return {
      kind: "invalid",
      reason: "has a path: leave it out, WebSocket clients may use any and others have none",
    };
  }
  return { kind, host, port };
}

export function formatListenerUrl(address: ListenerAddress): string {
  if (address.kind === "unix") return `unix://${address.path}`;
  return `${address.kind}://${hostAndPort(address.host, address.port)}`;
}

/** Whether `host` means every address of the machine. */
export function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || /^(0{0,4}:){1,7}0{0,4}$/.test(host);
}

export function isTls(address: ListenerAddress): boolean {
  return address.kind === "mqtts" || address.kind === "wss";
}
