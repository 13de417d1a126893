import { relative } from "node:path";

import { isTls } from "../config/listener-url.ts";
import type { RunningServer } from "./server.ts";

/** A word for a POSIX shell. */
export function shellWord(text: string): string {
  return /^[A-Za-z0-9_./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** The shorter of a path's absolute form and the one from `cwd`. */
function shortPath(path: string, cwd: string): string {
  const short = relative(cwd, path);
  return short !== "" && short.length < path.length && !short.startsWith("-") ? short : path;
}

/** The part of a running server that is told. */
export type RunningServerFacts = Pick<
  RunningServer,
  | "directory"
  | "listeners"
  | "metricsUrl"
  | "estUrl"
  | "revocationUrl"
  | "knockPort"
  | "authorityFingerprint"
  | "created"
  | "firstBundle"
  | "warnings"
>;

export interface BannerOptions {
  /** What starts this program again, as one types it. */
  readonly program: string;
  readonly cwd: string;
  readonly version: string;
}

/** How to reach the server as options of `postern sub`; `undefined` when it cannot be told. */
function target({ firstBundle, listeners }: RunningServerFacts, cwd: string): string | undefined {
  if (firstBundle !== undefined) return `--bundle ${shellWord(shortPath(firstBundle, cwd))}`;
  const open = listeners.find(
    ({ configuration }) => configuration.anonymous && !isTls(configuration.address),
  );
  return open === undefined ? undefined : `--url ${shellWord(open.url)}`;
}

function access({ configuration }: RunningServer["listeners"][number]): string {
  const tls = isTls(configuration.address) ? "TLS" : "plain text";
  if (configuration.anonymous) return `${tls}, anyone`;
  return `${tls}, ${configuration.psk ? "for devices with pre-shared keys" : "for known devices"}`;
}

/** What a person reads when the server is up. */
export function renderBanner(server: RunningServerFacts, { program, cwd, version }: BannerOptions): string {
  const { listeners, metricsUrl, estUrl, revocationUrl, directory, authorityFingerprint, created, warnings } =
    server;
  const width = Math.max(...listeners.map(({ url }) => url.length));
  const rows: (readonly [string, string])[] = [
    ...listeners.map(
      (listener, index) =>
        [index === 0 ? "listening" : "", `${listener.url.padEnd(width)}  ${access(listener)}`] as const,
    ),
    ...(server.knockPort === undefined
      ? []
      : [
          [
            "gate",
            `all that is not on loopback is hidden until a device knocks on UDP ${server.knockPort}`,
          ] as const,
        ]),
    ["metrics", metricsUrl === undefined ? "off" : `${metricsUrl}/metrics`],
    ...(estUrl === undefined ? [] : [["enrolment", estUrl] as const]),
    ...(revocationUrl === undefined
      ? []
      : [["revocation", `${revocationUrl}/crl/issuing.crl and ${revocationUrl}/ocsp`] as const]),
    ["data", `${directory.path}${created ? " (new)" : ""}`],
    ["authority", `SHA-256 ${authorityFingerprint}`],
  ];
  const lines = [`Postern ${version} is running. Ctrl-C stops it.`, ""];
  for (const [title, text] of rows) lines.push(`  ${title.padEnd(11)}${text}`);
  if (warnings.length > 0) lines.push("", ...warnings.map((warning) => `  warning: ${warning}`));
  const how = target(server, cwd);
  if (how !== undefined) {
    lines.push(
      "",
      "Subscribe in another terminal, and publish in a third:",
      "",
      `  ${program} sub ${how} 'hello/#'`,
      `  ${program} pub ${how} hello/world 'Hello, world'`,
    );
  }
  return `${lines.join("\n")}\n\n`;
}
