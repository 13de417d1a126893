import type { Bundle } from "@postern/core/bundle";
import { hostAndPort, isLoopback } from "@postern/core/host";

/** Where a server listens, and how to speak to it there. `url` is for messages: without user name or password. */
export type Target =
  | {
      readonly kind: "tcp" | "tls";
      readonly host: string;
      readonly port: number;
      readonly url: string;
    }
  | {
      readonly kind: "ws" | "wss";
      readonly host: string;
      readonly port: number;
      /** Path and query of the HTTP request. */
      readonly path: string;
      readonly url: string;
    }
  | { readonly kind: "unix"; readonly path: string; readonly url: string };

/** `problem` is a sentence that quotes the text. */
export type ParsedTarget =
  | {
      readonly kind: "target";
      readonly target: Target;
      /** The user name written before the host; `undefined` when there is none. */
      readonly username: string | undefined;
    }
  | { readonly kind: "problem"; readonly problem: string };

type NetworkKind = Exclude<Target["kind"], "unix">;

/** Scheme, its usual aliases, and the port when none is written. */
const schemes: Readonly<Record<string, { readonly kind: NetworkKind; readonly port: number }>> = {
  "mqtt:": { kind: "tcp", port: 1883 },
  "tcp:": { kind: "tcp", port: 1883 },
  "mqtts:": { kind: "tls", port: 8883 },
  "tls:": { kind: "tls", port: 8883 },
  "ssl:": { kind: "tls", port: 8883 },
  "ws:": { kind: "ws", port: 80 },
  "wss:": { kind: "wss", port: 443 },
};

const names: Readonly<Record<NetworkKind, string>> = { tcp: "mqtt", tls: "mqtts", ws: "ws", wss: "wss" };

const wanted =
  "write mqtts://host, wss://host/path or unix:///path/to/socket (mqtt:// and ws:// where nobody listens in)";

/** Whether the connection is encrypted and the server proves who it is. */
export function isEncrypted(target: Target): boolean {
  return target.kind === "tls" || target.kind === "wss";
}

/** Whether what is sent leaves this machine. */
export function isLocal(target: Target): boolean {
  return target.kind === "unix" || isLoopback(target.host);
}

/** Undoes percent-encoding; what is not well encoded stays as it is. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function problem(text: string, what: string): ParsedTarget {
  return { kind: "problem", problem: `"${text}" ${what}` };
}

/** Reads the address of a server; a password in it is passed over. */
export function parseTarget(text: string): ParsedTarget {
  const notOne = `is not the address of a server: ${wanted}`;
  if (!URL.canParse(text)) return problem(text, notOne);
  const url = new URL(text);
  const username = url.username === "" ? undefined : decode(url.username);
  if (url.protocol === "unix:") {
    const path = decode(url.pathname);
    if (url.host !== "" || path.length < 2 || url.search !== "" || url.hash !== "")
      return problem(text, "is not the address of a Unix socket: write unix:///path/to/socket");
    return { kind: "target", target: { kind: "unix", path, url: `unix://${path}` }, username };
  }
  const scheme = schemes[url.protocol];
  if (scheme === undefined || url.hostname === "") return problem(text, notOne);
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const port = url.port === "" ? scheme.port : Number(url.port);
  const shown = `${names[scheme.kind]}://${hostAndPort(host, port)}`;
  if (scheme.kind === "ws" || scheme.kind === "wss") {
    const path = (url.pathname === "" ? "/" : url.pathname) + url.search;
    return { kind: "target", target: { kind: scheme.kind, host, port, path, url: shown + path }, username };
  }
  if ((url.pathname !== "" && url.pathname !== "/") || url.search !== "" || url.hash !== "")
    return problem(text, "has a path, which only ws:// and wss:// have: topics are arguments of their own");
  return { kind: "target", target: { kind: scheme.kind, host, port, url: shown }, username };
}

/** Where the servers of a bundle are, the preferred one first. */
export function targetsOf({ servers }: Bundle): Target[] {
  return servers.flatMap(({ url }) => {
    const parsed = parseTarget(url);
    return parsed.kind === "target" ? [parsed.target] : [];
  });
}
