import { execFileSync, type ExecFileSyncOptions } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { Host, HostProcess } from "@postern/gate/hosts/hosts";

import { startAt } from "./knocks.ts";
import { knockPort } from "./ports.ts";

/** What Debian's fwknopd needs beside what the tests install. Unpacked beside the measurement and never installed: no service, no rights. */
const packages = [
  "fwknop-server",
  "libfko3",
  "libpcap0.8",
  "iptables",
  "libxtables12",
  "libip4tc2",
  "libip6tc2",
  "libnetfilter-conntrack3",
  "libnfnetlink0",
] as const;

const libraries = "usr/lib/x86_64-linux-gnu";

function privateFile(directory: string, name: string, lines: readonly string[]): string {
  const path = join(directory, name);
  writeFileSync(path, `${lines.join("\n")}\n`, { mode: 0o600 });
  return path;
}

/** How fwknopd reads packets: by libpcap, its default, or from a UDP socket. */
export type FwknopMode = "pcap" | "udp";

export interface FwknopServer {
  /** Hides the port and starts fwknopd on the host; resolves when it listens. */
  start(host: Host, mode: FwknopMode, hiddenPort: number): Promise<HostProcess>;
  /** The packet of the real client that asks for the port from that address. */
  packet(address: string, server: string, hiddenPort: number): Buffer;
}

/** Fetches fwknopd into the directory and makes its configuration. Throws where it cannot be had. */
export function fetchFwknop(directory: string): FwknopServer {
  const root = join(directory, "root");
  mkdirSync(root, { recursive: true });
  const quiet: ExecFileSyncOptions = { cwd: directory, stdio: "ignore" };
  execFileSync("apt-get", ["download", ...packages], { ...quiet, timeout: 120_000 });
  for (const file of readdirSync(directory).filter((name) => name.endsWith(".deb")))
    execFileSync("dpkg", ["-x", file, root], quiet);
  const env = {
    LD_LIBRARY_PATH: join(root, libraries),
    XTABLES_LIBDIR: join(root, libraries, "xtables"),
  };
  // fwknopd calls it with an environment of its own.
  const iptables = join(directory, "iptables");
  const exports = Object.entries(env).map(([name, value]) => `export ${name}='${value}'`);
  writeFileSync(
    iptables,
    ["#!/bin/sh", ...exports, `exec '${root}/usr/sbin/iptables-nft' "$@"`, ""].join("\n"),
  );
  chmodSync(iptables, 0o755);
  const generated = execFileSync("fwknop", ["--key-gen"], { encoding: "utf8" });
  const [, key = ""] = /^KEY_BASE64: (\S+)$/m.exec(generated) ?? [];
  const [, hmacKey = ""] = /^HMAC_KEY_BASE64: (\S+)$/m.exec(generated) ?? [];
  const access = privateFile(directory, "access.conf", [
    "SOURCE ANY",
    `KEY_BASE64 ${key}`,
    `HMAC_KEY_BASE64 ${hmacKey}`,
    "REQUIRE_SOURCE_ADDRESS Y",
    "FW_ACCESS_TIMEOUT 10",
  ]);
  const settings = privateFile(directory, "fwknopd.conf", [
    `PCAP_FILTER udp port ${knockPort};`,
    `UDPSERV_PORT ${knockPort};`,
    `FWKNOP_RUN_DIR ${directory}/run;`,
    `FIREWALL_EXE ${iptables};`,
  ]);
  return {
    async start(host, mode, hiddenPort) {
      const input = ["-A", "INPUT", "-p", "tcp"];
      const established = [...input, "-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "ACCEPT"];
      for (const rule of [established, [...input, "--dport", String(hiddenPort), "-j", "DROP"]]) {
        const { code, stderr } = await host.run(iptables, rule);
        if (code !== 0) throw new Error(`iptables ${rule.join(" ")}: ${stderr}`);
      }
      const options = ["-f", "-i", "eth0", "-c", settings, "-a", access, ...(mode === "udp" ? ["-U"] : [])];
      const fwknopd = join(root, "usr/sbin/fwknopd");
      const running = startAt("measured", host, [fwknopd, ...options], env);
      await running.until(mode === "udp" ? /Kicking off UDP server/ : /Sniffing interface/);
      return running;
    },
    packet(address, server, hiddenPort) {
      const keys = ["--use-hmac", "--key-base64-rijndael", key, "--key-base64-hmac", hmacKey];
      const asks = ["-A", `tcp/${hiddenPort}`, "-a", address, "-D", server];
      const said = execFileSync("fwknop", [...asks, ...keys, "--test", "--no-save-args"], {
        encoding: "utf8",
        env: { ...process.env, HOME: directory },
      });
      const [, packet = ""] = /Final SPA Data: (\S+)/.exec(said) ?? [];
      return Buffer.from(packet);
    },
  };
}
