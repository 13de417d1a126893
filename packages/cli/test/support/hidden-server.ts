import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { createNetwork, type Host, type HostProcess, type Network } from "@postern/gate/hosts/hosts";
import type { GateStatus } from "@postern/gate/link/messages";
import { askGate } from "@postern/gate/link/operator-link";
import { parseBundle, type Bundle } from "@postern/core/bundle";
import { parseIpAddress, type IpAddress } from "@postern/knock/ip-address";
import { hintEpoch, knockKeys } from "@postern/knock/spa1/keys";
import { sealPacket, type SealOptions, type Spa1Request } from "@postern/knock/spa1/packet";

import { bin, serverEnvironment } from "./postern.ts";

export const serverAddress = "192.168.1.126";
export const clientAddress = "192.168.1.6";
export const strangerAddress = "192.168.1.7";

/** A real server behind a real gate, and two other machines. */
export interface HiddenServer extends AsyncDisposable {
  readonly network: Network;
  readonly server: HostProcess;
  readonly client: Host;
  readonly stranger: Host;
  readonly data: string;
  readonly bundleFile: string;
  readonly bundle: Bundle & { readonly knock: NonNullable<Bundle["knock"]> };
  postern(host: Host, ...args: readonly string[]): ReturnType<Host["run"]>;
  ask(request: Parameters<typeof askGate>[1]): ReturnType<typeof askGate>;
  status(): Promise<GateStatus>;
  /** Waits until the gate's status is so. */
  until(what: (status: GateStatus) => boolean): Promise<GateStatus>;
}

function postern(host: Host, ...args: readonly string[]): ReturnType<Host["run"]> {
  return host.run(process.execPath, [bin, ...args]);
}

export interface HiddenServerOptions {
  /** Lines under `gate:`. */
  readonly gate?: readonly string[];
  /** Files beside the configuration. */
  readonly files?: Readonly<Record<string, string>>;
  /** Where devices enrol; nowhere unless given. */
  readonly est?: string;
  /** More of the server's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** What is done to the data directory before the server starts for the first time. */
  readonly prepare?: (data: string) => void;
}

export async function hiddenServer({
  gate = [],
  files = {},
  est = "off",
  env = {},
  prepare,
}: HiddenServerOptions = {}): Promise<HiddenServer> {
  await using stack = new AsyncDisposableStack();
  const directory = mkdtempSync(join(tmpdir(), "postern-hidden-"));
  stack.defer(() => rmSync(directory, { recursive: true, force: true }));
  const network = stack.use(
    await createNetwork({
      hosts: {
        server: { ipv4: `${serverAddress}/24` },
        client: { ipv4: `${clientAddress}/24` },
        stranger: { ipv4: `${strangerAddress}/24` },
      },
    }),
  );
  const config = join(directory, "postern.yaml");
  const lines = ["gate:", "  mode: on", ...gate.map((line) => `  ${line}`), 'metrics: { url: "off" }'];
  writeFileSync(config, `${lines.join("\n")}\nest: { url: "${est}" }\n`);
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(directory, name), text, { mode: 0o600 });
  }
  const data = join(directory, "data");
  prepare?.(data);
  const server = network
    .host("server")
    .start(process.execPath, [bin, "up", "--data", data, "--config", config], {
      env: serverEnvironment(env),
    });
  await server.until(/is running/);
  const bundleFile = join(data, "bundles", "first-device.json");
  const bundle = parseBundle(readFileSync(bundleFile, "utf8"), bundleFile);
  assert.ok(bundle.knock !== undefined);
  const { knock } = bundle;
  // A Unix socket is a file: it is reached from every network.
  const ask: HiddenServer["ask"] = (request) => askGate(join(data, "run", "gate.sock"), request);
  const status = async (): Promise<GateStatus> => {
    const answer = await ask({ kind: "status" });
    assert.ok(answer.kind === "status");
    return answer.status;
  };
  const until = async (what: (status: GateStatus) => boolean): Promise<GateStatus> => {
    const end = performance.now() + 20_000;
    for (;;) {
      const now = await status().catch(() => undefined);
      if (now !== undefined && what(now)) return now;
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert.ok(performance.now() < end, `not so within 20 s: ${what.toString()}, ${JSON.stringify(now)}`);
    }
  };
  await until(({ devices, ready, broker }) => devices === 1 && ready && broker !== null);
  const owned = stack.move();
  return {
    network,
    server,
    client: network.host("client"),
    stranger: network.host("stranger"),
    data,
    bundleFile,
    bundle: { ...bundle, knock },
    postern,
    ask,
    status,
    until,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

export function ip(text: string): IpAddress {
  const address = parseIpAddress(text);
  assert.ok(address !== undefined);
  return address;
}

let counter = Date.now();

/** A packet of the bundle's device for the client's address, unless the changes say otherwise. */
export function packetOf(
  { knock }: HiddenServer["bundle"],
  changes: Partial<Spa1Request> = {},
  options: Partial<SealOptions> = {},
): Buffer {
  counter += 1;
  const timestampMs = changes.timestampMs ?? Date.now();
  return sealPacket(
    {
      action: "open",
      clockless: false,
      timestampMs,
      counter,
      address: ip(clientAddress),
      sourcePort: 0,
      serviceId: knock.service,
      windowSeconds: 0,
      certBind: undefined,
      ...changes,
    },
    {
      keys: knockKeys(Buffer.from(knock.secret, "base64")),
      gateId: knock.gate,
      epoch: hintEpoch(timestampMs),
      nonce: randomBytes(12),
      ...options,
    },
  );
}

/**
 * Sends one packet after the other to the knock port, each as soon as the one before has opened, and closes the window in between: milliseconds from
 * each packet to the connection. @throws when one does not open.
 */
export async function opensWithinMs(
  host: Host,
  packets: readonly (readonly [open: Uint8Array, close: Uint8Array])[],
): Promise<number[]> {
  const script = `
    const { connect } = require("node:net");
    const socket = require("node:dgram").createSocket("udp4");
    const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    const send = (hex) => new Promise((resolve) => socket.send(Buffer.from(hex, "hex"), 62201, "${serverAddress}", resolve));
    const dial = (ms) => new Promise((resolve) => {
      const tried = connect(8883, "${serverAddress}");
      const done = (open) => { clearTimeout(timer); tried.destroy(); resolve(open); };
      const timer = setTimeout(done, ms, false);
      tried.on("connect", () => done(true)).on("error", () => done(false));
    });
    (async () => {
      for (const [open, close] of JSON.parse(require("node:fs").readFileSync(0, "utf8"))) {
        const start = performance.now();
        await send(open);
        while (!(await dial(10))) if (performance.now() - start > 20000) throw new Error("a valid knock opened nothing");
        console.log(performance.now() - start);
        await send(close);
        for (const end = performance.now() + 20000; await dial(100); ) if (performance.now() > end) throw new Error("a window did not close");
      }
      process.exit(0);
    })().catch((error) => { console.error(error); process.exit(1); });`;
  const hex = packets.map((pair) => pair.map((packet) => Buffer.from(packet).toString("hex")));
  const { code, stdout, stderr } = await host.run(process.execPath, ["-e", script], {
    input: JSON.stringify(hex),
  });
  assert.equal(code, 0, stderr);
  return stdout.trim().split("\n").map(Number);
}

/** Sends datagrams from a host; says what came back. */
export async function sendFrom(host: Host, packets: readonly Uint8Array[], port = 62_201): Promise<string> {
  const script = `
    const socket = require("node:dgram").createSocket("udp4");
    socket.on("message", (bytes) => console.log("answer", bytes.length)).on("error", (error) => console.log(error.code));
    const packets = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
    (async () => {
      for (const packet of packets) {
        await new Promise((resolve) => socket.send(Buffer.from(packet, "hex"), ${port}, "${serverAddress}", resolve));
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      setTimeout(() => process.exit(0), 100);
    })();`;
  const input = JSON.stringify(packets.map((packet) => Buffer.from(packet).toString("hex")));
  const { stdout } = await host.run(process.execPath, ["-e", script], { input });
  return stdout;
}

/** What a TCP connection to the server's MQTT port meets: `open`, or how it failed. */
export async function dialFrom(host: Host, waitMs = 400): Promise<string> {
  const script = `
    const socket = require("node:net").connect(8883, "${serverAddress}");
    socket.on("connect", () => { console.log("open"); process.exit(0); });
    socket.on("error", ({ code }) => { console.log(code); process.exit(0); });
    setTimeout(() => { console.log("silence"); process.exit(0); }, ${waitMs});`;
  return (await host.run(process.execPath, ["-e", script])).stdout.trim();
}

/** The process with this in its command line, among the server's. */
export function childOf(pid: number, part: string): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
  const found = children.find(
    (child) =>
      existsSync(`/proc/${child}/cmdline`) && readFileSync(`/proc/${child}/cmdline`, "utf8").includes(part),
  );
  assert.ok(found !== undefined, `no ${part} among ${children.join(", ")}`);
  return Number(found);
}
