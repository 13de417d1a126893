import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import { silentLog } from "@postern/core/log";

import { address } from "../testing/firewall-suite.ts";
import { HandClock, knockOf, linkDevice, temporaryDirectory, testGate, until } from "../testing/test-gate.ts";
import { BrokerLink } from "./broker-link.ts";
import { messageBytesMax } from "./line-channel.ts";
import { linkProtocol } from "./messages.ts";
import { askGate } from "./operator-link.ts";

interface Conversation {
  readonly answers: string;
  readonly ended: boolean;
}

/** Says these lines to the gate; what it answered until it ended the conversation or fell silent. */
function say(path: string, ...lines: readonly (string | object)[]): Promise<Conversation> {
  return converse(path, 150, lines);
}

function converse(
  path: string,
  silenceMs: number,
  lines: readonly (string | object)[],
): Promise<Conversation> {
  return new Promise((resolve) => {
    const socket = connect(path);
    let answers = "";
    socket.setTimeout(silenceMs, () => {
      resolve({ answers, ended: false });
      socket.destroy();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => resolve({ answers, ended: true }));
    socket.on("data", (data) => (answers += data.toString()));
    for (const line of lines) socket.write(typeof line === "string" ? line : `${JSON.stringify(line)}\n`);
  });
}

const hello = { kind: "hello", protocol: linkProtocol, role: "broker" };
const operator = { ...hello, role: "operator" };

describe("the gate's socket", () => {
  it("is its owner's alone", async () => {
    using directory = temporaryDirectory();
    await using gate = await testGate({ directory: directory.path, clock: new HandClock() });
    assert.equal(statSync(gate.socket).mode & 0o777, 0o600);
  });

  it("ends every conversation that is not of this version, and goes on with the others", async () => {
    using directory = temporaryDirectory();
    await using gate = await testGate({ directory: directory.path, clock: new HandClock() });
    const hostile: readonly (readonly (string | object)[])[] = [
      ["no JSON\n"],
      [{ kind: "device", device: linkDevice("early") }],
      [{ ...hello, protocol: 2 }],
      [{ ...hello, role: "king" }],
      [{ ...hello, more: 1 }],
      [hello, hello],
      [hello, { kind: "request", id: 1, request: { kind: "status" } }],
      [operator, { kind: "forget", device: "pump" }],
      [hello, { kind: "device", device: { ...linkDevice("pump"), key: "00" } }],
      [hello, { kind: "device", device: linkDevice("pump", { keyVersion: 0 }) }],
      [hello, { kind: "live", device: "pump", address: "10.0.0.1; drop table" }],
      [hello, { kind: "devices", first: true, last: true, devices: Array(501).fill(linkDevice("pump")) }],
      [hello, { __proto__: null, kind: "constructor" }],
      ["x".repeat(messageBytesMax + 1)],
      [hello, `${"[".repeat(5_000)}\n`],
      ["\n"],
      ["null\n"],
    ];
    for (const lines of hostile) {
      // However long it takes: a gate that does not end it is silent for good.
      const { ended } = await converse(gate.socket, 10_000, lines);
      assert.ok(ended, JSON.stringify(lines).slice(0, 100));
    }
    const { ended, answers } = await say(gate.socket, hello);
    assert.ok(!ended);
    assert.match(answers, /"welcome"/);
    const answer = await askGate(gate.socket, { kind: "status" });
    assert.ok(answer.kind === "status" && answer.status.devices === 0);
  });

  it("has room for some conversations only, and cuts off who says nothing", async () => {
    using directory = temporaryDirectory();
    await using gate = await testGate({ directory: directory.path, clock: new HandClock() });
    const silent = Array.from({ length: 16 }, () => connect(gate.socket));
    await until(() => silent.every((socket) => !socket.connecting));
    assert.ok((await say(gate.socket, operator)).ended);
    for (const socket of silent) socket.destroy();
    await until(async () => !(await say(gate.socket, operator)).ended);
  });

  it("leaves the socket of its successor alone when it closes late, and removes its own", async () => {
    using directory = temporaryDirectory();
    const clock = new HandClock();
    const old = await testGate({ directory: directory.path, clock });
    {
      await using successor = await testGate({ directory: directory.path, clock });
      await old[Symbol.asyncDispose]();
      const answer = await askGate(successor.socket, { kind: "status" });
      assert.equal(answer.kind, "status");
    }
    assert.deepEqual(
      readdirSync(directory.path).filter((name) => name.startsWith("g")),
      [],
    );
  });

  it("gives its place to a new broker", async () => {
    using directory = temporaryDirectory();
    await using gate = await testGate({ directory: directory.path, clock: new HandClock() });
    const first = connect(gate.socket);
    let ended = false;
    first.on("close", () => (ended = true)).on("error", () => undefined);
    first.write(`${JSON.stringify(hello)}\n`);
    first.resume();
    await say(gate.socket, hello);
    await until(() => ended);
  });

  it("says who could not be asked", async () => {
    using directory = temporaryDirectory();
    await assert.rejects(askGate(join(directory.path, "nobody.sock"), { kind: "status" }), {
      code: "GATE_LINK",
    });
  });
});

describe("the broker's end", () => {
  it("waits for the gate, tells it everything when it comes, and again when it comes back", async () => {
    using directory = temporaryDirectory();
    const clock = new HandClock();
    const devices = Array.from({ length: 1_201 }, (_, number) => linkDevice(`device-${number}`));
    using broker = new BrokerLink({
      path: join(directory.path, "gate.sock"),
      source: { devices: () => devices, connections: () => [] },
      nowMs: () => clock.nowMs,
      log: silentLog,
    });
    for (let round = 0; round < 2; round++) {
      await using gate = await testGate({ directory: directory.path, clock });
      await until(async () => {
        const answer = await askGate(gate.socket, { kind: "status" });
        return answer.kind === "status" && answer.status.devices === 1_201;
      });
      assert.ok(broker.connected);
    }
    await until(() => !broker.connected);
  });

  it("forgets the windows of a gate that was started anew, whose numbers begin again", async () => {
    using directory = temporaryDirectory();
    const path = join(directory.path, "gate.sock");
    const addresses = ["10.0.0.1", "10.0.0.2"];
    const server = createServer((socket) => {
      const [address] = addresses.splice(0, 1);
      socket.on("error", () => undefined).resume();
      const common = { kind: "window", replaces: null, device: "pump", certBind: null, untilMs: 2 ** 50 };
      for (const message of [
        { kind: "welcome", protocol: linkProtocol },
        { ...common, id: 1, address },
      ]) {
        socket.write(`${JSON.stringify(message)}\n`);
      }
      if (addresses.length > 0) setTimeout(() => socket.destroy(), 50);
    });
    await new Promise<void>((resolve) => {
      server.listen(path, resolve);
    });
    using broker = new BrokerLink({
      path,
      source: { devices: () => [], connections: () => [] },
      nowMs: () => 0,
      log: silentLog,
    });
    await until(() => broker.admits(address("10.0.0.1"), "pump", undefined));
    await until(() => broker.admits(address("10.0.0.2"), "pump", undefined));
    assert.ok(!broker.admits(address("10.0.0.1"), "pump", undefined));
    server.close();
  });

  it("gives who came in time some more for his handshake when the window is over, and nobody when it was closed before", async () => {
    using directory = temporaryDirectory();
    const clock = new HandClock();
    await using gate = await testGate({ directory: directory.path, clock });
    using broker = new BrokerLink({
      path: gate.socket,
      source: { devices: () => [linkDevice("pump")], connections: () => [] },
      nowMs: () => clock.nowMs,
      log: silentLog,
    });
    await until(() => gate.spa1.table.size === 1);
    const open = async (): Promise<number> => {
      const answer = await askGate(gate.socket, { kind: "status" });
      return answer.kind === "status" && answer.status.ready ? answer.status.windowCount : NaN;
    };
    await until(async () => (await open()) === 0);
    const from = address("10.9.0.2");
    const admitted = (): boolean => broker.admits(from, "pump", undefined);
    gate.knock(knockOf("pump", clock.nowMs));
    await until(admitted);
    clock.nowMs += 11_000;
    // Longer than a gate takes to look whose time is over, and to say so.
    const end = performance.now() + 1_200;
    await until(async () => (await open()) === 0 && performance.now() > end);
    assert.ok(admitted());
    clock.nowMs += 10_000;
    assert.ok(!admitted());
    gate.knock(knockOf("pump", clock.nowMs));
    await until(admitted);
    gate.knock(knockOf("pump", clock.nowMs, { action: "close" }));
    await until(() => !admitted());
  });

  it("knows of somebody who has not said who he is whether he may be one that knocked", async () => {
    using directory = temporaryDirectory();
    const clock = new HandClock();
    await using gate = await testGate({ directory: directory.path, clock });
    using broker = new BrokerLink({
      path: gate.socket,
      source: { devices: () => [linkDevice("pump"), linkDevice("lamp")], connections: () => [] },
      nowMs: () => clock.nowMs,
      log: silentLog,
    });
    await until(() => gate.spa1.table.size === 2);
    await until(async () => {
      const answer = await askGate(gate.socket, { kind: "status" });
      return answer.kind === "status" && answer.status.ready;
    });
    const from = address("10.9.0.2");
    assert.ok(!broker.mayBe(from, undefined));
    gate.knock(knockOf("pump", clock.nowMs, { certBind: Buffer.from("a1b2c3d4e5f6", "hex") }));
    await until(() => broker.admits(from, undefined, undefined));
    assert.ok(broker.mayBe(from, "a1b2c3d4e5f6"));
    assert.ok(
      !broker.mayBe(from, undefined),
      "whoever comes with a password, while a device with a certificate knocked",
    );
    assert.ok(!broker.mayBe(from, "000000000000"));
    gate.knock(knockOf("lamp", clock.nowMs));
    await until(() => broker.mayBe(from, undefined));
    assert.ok(!broker.mayBe(address("10.9.0.3"), undefined));
  });

  it("lets nobody in by a gate of another version or by one that talks nonsense", async () => {
    using directory = temporaryDirectory();
    const path = join(directory.path, "gate.sock");
    const window = {
      kind: "window",
      id: 1,
      replaces: null,
      device: null,
      address: "10.0.0.1",
      certBind: null,
      untilMs: 2 ** 50,
    };
    for (const lines of [
      [{ kind: "welcome", protocol: 2 }, window],
      [window],
      [
        { kind: "welcome", protocol: linkProtocol },
        { ...window, address: "x" },
      ],
    ]) {
      let conversations = 0;
      const server = createServer((socket) => {
        conversations += 1;
        socket.on("error", () => undefined);
        for (const line of lines) socket.write(`${JSON.stringify(line)}\n`);
      });
      await new Promise<void>((resolve) => {
        server.listen(path, resolve);
      });
      using broker = new BrokerLink({
        path,
        source: { devices: () => [], connections: () => [] },
        nowMs: () => 0,
        log: silentLog,
      });
      await until(() => conversations === 2);
      assert.ok(!broker.admits(address("10.0.0.1"), "pump", undefined));
      server.close();
    }
  });
});
