import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { describe, it } from "node:test";

import { hostsRefused } from "@postern/gate/hosts/namespaces";
import { messageBytesMax } from "@postern/gate/link/line-channel";
import { linkProtocol } from "@postern/gate/link/messages";
import { linkDevice } from "@postern/gate/testing/test-gate";

import type { Stage } from "../../src/demo/stage.ts";
import { dial, gateStage, gateStatus, knockPacket, opens, send, soon } from "../support/gate-stage.ts";
import { childOf } from "../support/hidden-server.ts";

const refused = await hostsRefused();
const serverAddress = "192.168.1.126";
/** Nobody's number. */
const nobody = "65534";
const silenceMs = 300;

const hello = { kind: "hello", protocol: linkProtocol, role: "broker" };
const operator = { ...hello, role: "operator" };

/** Says these lines to the gate. @returns whether it then ended the conversation. */
function say(path: string, ...lines: readonly (string | object)[]): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path).on("error", () => undefined);
    socket.setTimeout(silenceMs, () => {
      resolve(false);
      socket.destroy();
    });
    socket.on("close", () => resolve(true)).resume();
    for (const line of lines) socket.write(typeof line === "string" ? line : `${JSON.stringify(line)}\n`);
  });
}

function publish(stage: Stage, device: string): ReturnType<Stage["run"]> {
  const bundle = ["--bundle", stage.bundle(device), "--no-reconnect", "--connect-timeout", "10"];
  return stage.run(device, ["pub", `devices/${device}/x`, "1", "--qos", "1", ...bundle]);
}

describe(
  "attack 24: the channel between gate and server",
  refused === undefined ? {} : { skip: refused },
  () => {
    it("is its owner's alone, and cuts off other versions, junk and whoever says what is not his to say", async () => {
      await using stage = await gateStage({ devices: { "client-1": ["device"], "client-2": ["device"] } });
      const path = join(stage.data, "run", "gate.sock");
      const foreign = await stage
        .host("server")
        .run("setpriv", [
          `--reuid=${nobody}`,
          `--regid=${nobody}`,
          "--clear-groups",
          process.execPath,
          "-e",
          `require("net").connect(${JSON.stringify(path)}).on("error", (error) => console.log(error.code))`,
        ]);
      assert.equal(foreign.stdout.trim(), "EACCES");
      const stranger = stage.host("stranger");
      const hostile: readonly (readonly (string | object)[])[] = [
        [
          { ...hello, protocol: linkProtocol - 1 },
          { kind: "forget", device: "client-1" },
        ],
        [{ ...hello, protocol: linkProtocol + 1 }],
        [{ kind: "forget", device: "client-1" }],
        [operator, { kind: "forget", device: "client-1" }],
        [operator, { kind: "device", device: linkDevice("stranger") }],
        [operator, { kind: "request", id: 1, request: { kind: "ban", source: "0.0.0.0/0", seconds: 60 } }],
        ["x".repeat(messageBytesMax + 1)],
        [operator, `{"kind":"request","id":${"1".repeat(messageBytesMax)}}\n`],
        ["\0\n"],
      ];
      for (const lines of hostile) {
        assert.ok(await say(path, ...lines), JSON.stringify(lines).slice(0, 100));
      }
      assert.equal((await gateStatus(stage)).bans, 0);
      assert.equal(await dial(stranger, serverAddress), "nothing");
      const honest = await publish(stage, "client-1");
      assert.equal(honest.code, 0, honest.stderr);
    });

    it("keeps what is last known when an old conversation is played again", async () => {
      await using stage = await gateStage({ devices: { "client-1": ["device"], "client-2": ["device"] } });
      const path = join(stage.data, "run", "gate.sock");
      const revoked = await stage.run("server", ["device", "revoke", "client-2", "--data", stage.data]);
      assert.equal(revoked.code, 0, revoked.stderr);
      const old = { kind: "devices", first: true, last: true, devices: [linkDevice("client-2")] };
      assert.ok(await say(path, hello, old), "the server takes its place again");
      await soon(async () => {
        const { broker, devices, ready } = await gateStatus(stage);
        // The first device of the installation and client-1.
        return broker !== null && devices === 2 && ready;
      });
      const from = stage.host("client-2");
      await send(from, {
        to: serverAddress,
        payload: knockPacket(stage.bundle("client-2"), from.ipv4),
      });
      await soon(async () => (await gateStatus(stage)).counters["unknown-device"] === 1);
      assert.equal(await dial(from, serverAddress), "nothing");
      const honest = await publish(stage, "client-1");
      assert.equal(honest.code, 0, honest.stderr);
    });

    it("is not taken over by another version in the gate's place, and what was accepted stays so after its restart", async () => {
      await using stage = await gateStage({ gate: { windowSeconds: 60 } });
      const { pid = 0 } = stage.server.child;
      const path = join(stage.data, "run", "gate.sock");
      const client = stage.host("client-1");
      const packet = knockPacket(stage.bundle("client-1"), client.ipv4, { counter: Date.now() });
      await send(client, { to: serverAddress, payload: packet });
      await opens(client, serverAddress);
      // A window by a gate of the wrong version, in the place of one that was killed.
      const window = { kind: "window", id: 1, replaces: null, device: null, certBind: null };
      let conversations = 0;
      // Its end, which removes the socket of its name, comes last.
      await using impostor = createServer((socket) => {
        conversations += 1;
        socket.on("error", () => undefined).resume();
        for (const message of [
          { kind: "welcome", protocol: linkProtocol + 1 },
          { ...window, address: stage.host("stranger").ipv4, untilMs: 2 ** 50 },
        ])
          socket.write(`${JSON.stringify(message)}\n`);
      });
      process.kill(childOf(pid, "gate\0run"), "SIGKILL");
      rmSync(path);
      await new Promise<void>((resolve) => {
        impostor.listen(path, resolve);
      });
      await stage.server.until(/the gate is of another version/);
      assert.ok(conversations > 0);
      await soon(async () => {
        const { code } = await stage.run("server", ["gate", "status", "--data", stage.data]);
        return code === 0 && (await gateStatus(stage)).broker !== null && (await gateStatus(stage)).ready;
      });
      // The window of the gate that was killed is nobody's.
      for (const host of [client, stage.host("stranger")])
        assert.equal(await dial(host, serverAddress), "nothing");
      await send(client, { to: serverAddress, payload: packet });
      await soon(async () => (await gateStatus(stage)).counters["replayed"] === 1);
      const honest = await publish(stage, "client-1");
      assert.equal(honest.code, 0, honest.stderr);
    });
  },
);
