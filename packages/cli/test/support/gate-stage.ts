import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { randomBytes } from "node:crypto";

import type { Host } from "@postern/gate/hosts/hosts";
import type { GateStatus } from "@postern/gate/link/messages";
import { address } from "@postern/gate/testing/firewall-suite";
import { floodArguments, type FloodOptions } from "@postern/gate/testing/flood";
import { parseBundle } from "@postern/core/bundle";
import { hintEpoch, knockKeys } from "@postern/knock/spa1/keys";
import { sealPacket, type Spa1Request } from "@postern/knock/spa1/packet";

import { knockPort, servicePort, setStage, type Stage, type StageOptions } from "../../src/demo/stage.ts";
import { bin, serverEnvironment } from "./postern.ts";

export { knockPort, servicePort };

/** A server behind its gate, and devices, on hosts of their own. */
export async function gateStage(options: Partial<StageOptions> = {}): Promise<Stage> {
  return setStage({
    program: [process.execPath, bin],
    env: serverEnvironment(),
    devices: { "client-1": ["device"], "client-2": ["observer"] },
    ...options,
  });
}

/** What comes of a connection: `nothing` when nothing at all answers for as long as a second. */
export async function dial(
  host: Host,
  to: string,
  port = servicePort,
): Promise<"connected" | "refused" | "nothing"> {
  const { code } = await host.run("timeout", ["1", "bash", "-c", `exec 3<>/dev/tcp/${to}/${port}`]);
  return code === 0 ? "connected" : code === 124 ? "nothing" : "refused";
}

/** Waits until the port is open for the host, as it is some milliseconds after a knock. */
export async function opens(host: Host, to: string): Promise<void> {
  await soon(async () => (await dial(host, to)) === "connected");
}

let counter = 0;

/** A knock packet of a device's bundle for this address, unless the changes say otherwise. */
export function knockPacket(
  bundlePath: string,
  from: string,
  changes: Partial<Spa1Request> = {},
  gate?: string,
): Buffer {
  const { knock } = parseBundle(readFileSync(bundlePath, "utf8"), bundlePath);
  assert.ok(knock, `${bundlePath} says nothing of knocking`);
  const nowMs = Date.now();
  counter += 1;
  const request: Spa1Request = {
    action: "open",
    clockless: false,
    timestampMs: nowMs,
    counter: nowMs * 1_000 + counter,
    address: address(from),
    sourcePort: 0,
    serviceId: knock.service,
    windowSeconds: 0,
    certBind: undefined,
    ...changes,
  };
  return sealPacket(request, {
    keys: knockKeys(Buffer.from(knock.secret, "base64")),
    gateId: gate ?? knock.gate,
    epoch: hintEpoch(nowMs),
    nonce: randomBytes(12),
  });
}

/** Sends datagrams from a host, with a source that is a lie where one is given. */
export async function send(
  host: Host,
  options: Omit<FloodOptions, "port"> & { readonly port?: number },
): Promise<void> {
  const { code, stderr } = await host.run(
    process.execPath,
    floodArguments({ port: knockPort, from: host.ipv4, count: 1, ...options }),
  );
  assert.equal(code, 0, stderr);
}

/** What the gate says of itself. */
export async function gateStatus(stage: Stage): Promise<GateStatus> {
  const { code, stdout, stderr } = await stage.run("server", [
    "gate",
    "status",
    "--data",
    stage.data,
    "--json",
  ]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

/** Packets that a host receives from the server while `work` runs, other than those that find neighbours; each a line of tcpdump. */
export async function answersSeen(stage: Stage, host: Host, work: () => Promise<unknown>): Promise<string[]> {
  const server = stage.host("server");
  const from = [server.ipv4, server.ipv6]
    .flatMap((text) => (text === undefined ? [] : [`src host ${text}`]))
    .join(" or ");
  const neighbours = "icmp6 and (ip6[40] == 135 or ip6[40] == 136)";
  const capture = host.start("tcpdump", [
    "-i",
    "eth0",
    "-n",
    "-l",
    "--immediate-mode",
    `(${from}) and not arp and not (${neighbours})`,
  ]);
  await capture.until(/listening on/);
  await work();
  await new Promise((resolve) => setTimeout(resolve, 200));
  capture.child.kill("SIGTERM");
  return (await capture.ended).stdout.split("\n").filter((line) => line !== "");
}

/** Waits until it is so, for at most so long. */
export async function soon(what: () => Promise<boolean>, waitMs = 10_000): Promise<void> {
  const end = performance.now() + waitMs;
  while (!(await what())) {
    if (performance.now() > end) assert.fail(`not so within ${waitMs} ms: ${what.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
