import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";

import { connectPacket, HandClient } from "@postern/broker/testing/hand-client";
import { parseBundle, type Bundle } from "@postern/core/bundle";
import { encodeConnect } from "@postern/mqtt/connect";
import type { ConnackPacket, ConnectPacket, ProtocolVersion } from "@postern/mqtt/packets";
import { connectAsync, type IClientOptions, type MqttClient } from "mqtt";
import { z } from "zod";

import { command, type TestServer } from "./postern.ts";

/** TLS first, then plain text in which secrets may be sent all the same. */
export const tlsAndInsecure = `
listeners:
  - url: mqtts://127.0.0.1:0
  - url: mqtt://127.0.0.1:0
    name: insecure
    insecure: true
metrics: { url: off }
`;

/** Runs a command that must succeed. */
export async function run(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await command(args);
  assert.equal(code, 0, stderr);
  return stdout;
}

/** Adds a device to a running server, and reads its bundle. */
export async function addDevice(
  server: TestServer,
  name: string,
  ...options: readonly string[]
): Promise<Bundle> {
  await run("device", "add", name, "--data", server.data, ...options);
  const path = join(server.data, "bundles", `${name}.json`);
  return parseBundle(readFileSync(path, "utf8"), path);
}

/** Where a listener is, and from which of the addresses of loopback to come. */
export function addressOf(url: string, localAddress?: string) {
  const { hostname, port } = new URL(url);
  const address = { host: hostname, port: Number(port) };
  return localAddress === undefined ? address : { ...address, localAddress };
}

export interface Attempt extends Partial<Omit<ConnectPacket, "password">> {
  readonly password?: string | Uint8Array | undefined;
  readonly from?: string;
  readonly version?: ProtocolVersion;
}

/** The answer to one CONNECT, after which the connection is cut. */
export async function connectOnce(url: string, attempt: Attempt): Promise<ConnackPacket> {
  const { from, version = 5, password, ...rest } = attempt;
  await using client = new HandClient(addressOf(url, from), version);
  const packet = connectPacket(`c${Math.random()}`, version, {
    ...rest,
    password: password === undefined ? undefined : Buffer.from(password),
  });
  return await client.connect(packet);
}

/** The reason code that answers one CONNECT. */
export async function codeOf(url: string, attempt: Attempt): Promise<number> {
  return (await connectOnce(url, attempt)).reasonCode;
}

const refusal = z.object({ code: z.number() });

/** 0 when MQTT.js is let in, otherwise the reason code it was refused with. */
export async function mqttjsCode(url: string, options: IClientOptions): Promise<number> {
  let client: MqttClient;
  try {
    client = await connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0, ...options });
  } catch (thrown) {
    const refused = refusal.safeParse(thrown);
    assert.ok(refused.success, String(thrown));
    return refused.data.code;
  }
  await client.endAsync();
  return 0;
}

/** The TLS options of a bundle: with its certificate when it has one. */
export function tlsOptionsOf({ ca, certificate, key }: Bundle): IClientOptions {
  return certificate === undefined || key === undefined ? { ca } : { ca, cert: certificate, key };
}

/** The return code that answers a CONNECT of MQTT 3.1.1 over TLS, with the bundle's certificate, from an address of loopback. */
export async function tlsCode(
  url: string,
  bundle: Bundle,
  localAddress: string,
): Promise<number | undefined> {
  const { ca, certificate: cert, key } = bundle;
  const socket = connectTls({ ...addressOf(url, localAddress), ca, cert, key });
  try {
    await once(socket, "secureConnect");
    socket.write(encodeConnect(connectPacket("c", 4)));
    const [answer]: unknown[] = await once(socket, "data");
    return answer instanceof Uint8Array ? answer[3] : undefined;
  } finally {
    socket.destroy();
  }
}

const auditLine = z.object({
  kind: z.string(),
  detail: z.string(),
  identity: z.string().optional(),
  address: z.string().optional(),
});

/** The events in a server's audit log so far. */
export function auditOf(server: TestServer) {
  const lines = readFileSync(join(server.data, "audit", "audit.jsonl"), "utf8")
    .trimEnd()
    .split("\n");
  return lines.map((line) => auditLine.parse(JSON.parse(line)));
}
