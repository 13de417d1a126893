import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { describe, it } from "node:test";

import { hostsRefused } from "@postern/gate/hosts/namespaces";
import { thesisPacket } from "@postern/knock/thesis/verifier";

import {
  clientAddress,
  dialFrom,
  hiddenServer,
  ip,
  sendFrom,
  serverAddress,
  type HiddenServer,
} from "../support/hidden-server.ts";
import { skipWithout } from "../support/programs.ts";

const refused = (await hostsRefused()) ?? (skipWithout("fwknop") || undefined);

const key = Buffer.from("correct horse battery staple 123").toString("base64");
const hmacKey = Buffer.alloc(64, 7).toString("base64");

/** Runs the real client; never asks anybody outside for our address. */
async function fwknop(test: HiddenServer, ...more: readonly string[]): Promise<void> {
  const place = ["-D", serverAddress, "--server-port", "62202", "-E", join(test.data, "..", "fwknop.args")];
  const keys = ["--key-base64-rijndael", key, "--key-base64-hmac", hmacKey, "--use-hmac"];
  const args = ["--no-home-dir", "--no-rc-file", "--spoof-user", "iot", ...place, ...keys, ...more];
  const { code, stderr, stdout } = await test.client.run("fwknop", args);
  assert.equal(code, 0, stderr + stdout);
}

async function refusals(test: HiddenServer): Promise<number> {
  const { counters } = await test.status();
  const { received = 0, accepted = 0 } = counters;
  return received - accepted;
}

describe("attack 26: the fwknop client", refused === undefined ? {} : { skip: refused }, () => {
  it("opens with an access message, and with nothing else that it can send; the thesis's packet opens too", async () => {
    await using test = await hiddenServer({
      gate: [
        "windowSeconds: 3",
        "fwknop: { clients: [{ name: legacy, keyFile: key, hmacKeyFile: hmac }] }",
        "thesis: { windowSeconds: 3, skewSeconds: 1, passwords: [{ name: everybody, file: password }] }",
      ],
      files: { key: `${key}\n`, hmac: `${hmacKey}\n`, password: "supersecretpassword\n" },
    });
    const access = ["-A", "tcp/8883", "-a", clientAddress];
    const hostile: readonly (readonly string[])[] = [
      ["-C", "reboot", "-a", clientAddress],
      ["-A", "tcp/22", "-a", clientAddress],
      ["-A", "udp/8883", "-a", clientAddress],
      ["-A", "tcp/8883", "-a", "192.168.1.99"],
      ["-A", "tcp/8883", "-s"],
      [...access, "--nat-access", "10.0.0.1:22"],
      [...access, "--digest-type", "md5"],
      [...access, "--hmac-digest-type", "sha1"],
    ];
    for (const [index, args] of hostile.entries()) {
      await fwknop(test, ...args);
      for (let tries = 0; (await refusals(test)) <= index; tries++) assert.ok(tries < 20, args.join(" "));
      await test.ask({ kind: "lift", source: null });
    }
    assert.equal(await dialFrom(test.client), "silence");
    await fwknop(test, ...access, "-f", "9999");
    const { windows } = await test.until(({ windowCount }) => windowCount === 1);
    assert.ok((windows[0]?.untilMs ?? Infinity) - Date.now() <= 60_000);
    assert.equal(await dialFrom(test.client), "open");
  });

  it("lets the thesis's client in by TCP, once a packet", async () => {
    await using test = await hiddenServer({
      gate: [
        "thesis: { windowSeconds: 2, skewSeconds: 1, passwords: [{ name: everybody, file: password }] }",
      ],
      files: { password: "supersecretpassword\n" },
    });
    assert.match(test.server.stdout, /warning: gate\.thesis opens to MD5/);
    const packet = thesisPacket(Date.now() + 1_000, ip(clientAddress), "supersecretpassword");
    const [time = ""] = packet.toString().split("\n");
    assert.equal(time.length, createHash("md5").digest("hex").length);
    const send = (bytes: string) =>
      test.client.run(process.execPath, [
        "-e",
        `require("node:net").connect(62015, "${serverAddress}").on("close", () => process.exit(0)).on("error", () => process.exit(0)).end("${bytes}")`,
      ]);
    await send("0".repeat(32));
    await send(packet.toString());
    await test.until(({ windowCount, counters }) => windowCount === 1 && counters["wrong-key"] === 1);
    assert.equal(await dialFrom(test.client), "open");
    await test.until(({ windowCount }) => windowCount === 0);
    await send(packet.toString());
    await test.until(({ counters }) => (counters["replayed"] ?? 0) + (counters["wrong-key"] ?? 0) === 2);
    assert.equal(await sendFrom(test.client, [packet], 62_015), "");
    assert.equal(await dialFrom(test.client), "silence");
  });
});
