import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import { silentLog, type Log } from "@postern/core/log";

import { BrokerLink, type LiveConnection } from "./link/broker-link.ts";
import type { LinkDevice } from "./link/messages.ts";
import { askGate } from "./link/operator-link.ts";
import { address, source } from "./testing/firewall-suite.ts";
import {
  HandClock,
  knockOf,
  linkDevice,
  servicePort,
  temporaryDirectory,
  testGate,
  until,
  type TestGate,
  type TestGateOptions,
} from "./testing/test-gate.ts";

interface World extends AsyncDisposable {
  readonly clock: HandClock;
  readonly directory: string;
  gate: TestGate;
  broker: BrokerLink;
  readonly devices: LinkDevice[];
  readonly connections: LiveConnection[];
  status(): Promise<Extract<Awaited<ReturnType<typeof askGate>>, { kind: "status" }>["status"]>;
  restartGate(options?: Partial<TestGateOptions>): Promise<void>;
  startBroker(): void;
  /** Waits until the gate knows all devices. */
  ready(): Promise<void>;
  open(from?: string): boolean;
}

async function world(options: Partial<TestGateOptions> = {}): Promise<World> {
  const temporary = temporaryDirectory();
  const clock = new HandClock();
  const directory = temporary.path;
  const devices = [linkDevice("pump"), linkDevice("valve")];
  const connections: LiveConnection[] = [];
  const startBroker = (path: string) =>
    new BrokerLink({
      path,
      source: { devices: () => devices, connections: () => connections },
      nowMs: () => clock.nowMs,
      log: silentLog,
    });
  const gate = await testGate({ directory, clock, ...options });
  const it: World = {
    clock,
    directory,
    gate,
    broker: startBroker(gate.socket),
    devices,
    connections,
    async status() {
      const answer = await askGate(it.gate.socket, { kind: "status" });
      assert.ok(answer.kind === "status");
      return answer.status;
    },
    async restartGate(more = {}) {
      await it.gate[Symbol.asyncDispose]();
      it.gate = await testGate({ directory, clock, isNew: false, ...options, ...more });
      await it.ready();
    },
    startBroker() {
      it.broker = startBroker(it.gate.socket);
    },
    async ready() {
      await until(async () => {
        const { devices: known, ready, broker } = await it.status();
        return known === devices.length && ready && broker !== null;
      });
    },
    open: (from = "10.9.0.2") => it.gate.firewall.admits(address(from), 1, servicePort) === "open",
    async [Symbol.asyncDispose]() {
      it.broker[Symbol.dispose]();
      await it.gate[Symbol.asyncDispose]();
      temporary[Symbol.dispose]();
    },
  };
  await it.ready();
  return it;
}

/** Long enough for what must not happen. */
function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 60));
}

describe("the gate", () => {
  it("opens a window for who knocked, when the broker knows of it and it is on disk", async () => {
    await using test = await world();
    const { clock, gate, broker } = test;
    const openWindow = gate.firewall.openWindow.bind(gate.firewall);
    let asked = 0;
    gate.firewall.openWindow = async (...args) => {
      asked += 1;
      assert.ok(broker.admits(address("10.9.0.2"), "pump", "a1b2c3d4e5f6"));
      assert.match(readFileSync(join(test.directory, "accepted-knocks"), "utf8"), /"c":\["pump"/);
      await openWindow(...args);
    };
    gate.knock(knockOf("pump", clock.nowMs, { certBind: Buffer.from("a1b2c3d4e5f6", "hex") }));
    await until(() => test.open());
    assert.equal(asked, 1);
    // Nobody else at this address, no other certificate, nobody elsewhere.
    assert.ok(!broker.admits(address("10.9.0.2"), "valve", "a1b2c3d4e5f6"));
    assert.ok(!broker.admits(address("10.9.0.2"), "pump", "000000000000"));
    assert.ok(!broker.admits(address("10.9.0.2"), "pump", undefined));
    assert.ok(broker.admits(address("10.9.0.2"), undefined, undefined));
    assert.ok(!broker.admits(address("10.9.0.3"), undefined, undefined));
    assert.ok(!test.open("10.9.0.3"));
  });

  it("opens nothing twice for one packet, nor after a restart", async () => {
    await using test = await world();
    const packet = knockOf("pump", test.clock.nowMs);
    test.gate.knock(packet);
    await until(() => test.open());
    await test.restartGate();
    assert.ok(!test.open());
    test.gate.knock(packet);
    await until(async () => (await test.status()).counters["replayed"] === 1);
    assert.ok(!test.open());
    test.gate.knock(knockOf("pump", test.clock.nowMs));
    await until(() => test.open());
  });

  it("accepts nothing from before it lost its memory, and says so no second time", async () => {
    for (const harm of [
      (path: string) => rmSync(path),
      (path: string) => writeFileSync(path, readFileSync(path, "utf8").replace("pump", "pomp")),
    ]) {
      await using test = await world();
      const packet = knockOf("pump", test.clock.nowMs);
      test.gate.knock(packet);
      await until(() => test.open());
      await test.gate[Symbol.asyncDispose]();
      harm(join(test.directory, "accepted-knocks"));
      test.gate = await testGate({ directory: test.directory, clock: test.clock, isNew: false });
      await test.ready();
      test.gate.knock(packet);
      await until(async () => (await test.status()).counters["counters-lost"] === 1);
      await test.restartGate();
      test.gate.knock(packet);
      await until(async () => (await test.status()).counters["counters-lost"] === 1);
      test.clock.nowMs += 60_001;
      test.gate.knock(knockOf("pump", test.clock.nowMs));
      await until(() => test.open());
    }
  });

  it("accepts nothing again that a loss of power made it forget, and locks nobody out for that", async () => {
    await using test = await world();
    const path = join(test.directory, "accepted-knocks");
    const onDisk = readFileSync(path);
    const packet = knockOf("pump", test.clock.nowMs);
    test.gate.knock(packet);
    await until(() => test.open());
    await test.gate[Symbol.asyncDispose]();
    // The machine stopped before the line of this packet came to the disk, and was started again.
    writeFileSync(path, onDisk);
    test.gate = await testGate({
      directory: test.directory,
      clock: test.clock,
      isNew: false,
      boot: "next boot",
    });
    await test.ready();
    for (let count = 0; count < 10; count++) test.gate.knock(packet);
    assert.equal((await test.status()).counters["unsure"], 10);
    assert.equal((await test.status()).bans, 0);
    assert.ok(!test.open());
    test.clock.nowMs += 20_001;
    test.gate.knock(packet);
    assert.equal((await test.status()).counters["unsure"], 11);
    test.gate.knock(knockOf("pump", test.clock.nowMs));
    await until(() => test.open());
  });

  it("opens nothing while the broker is away, and goes on when it is back", async () => {
    await using test = await world();
    test.gate.knock(knockOf("pump", test.clock.nowMs));
    await until(() => test.open());
    test.broker[Symbol.dispose]();
    await until(async () => (await test.status()).broker === null);
    test.gate.knock(knockOf("valve", test.clock.nowMs, { address: address("10.9.0.3") }), "10.9.0.3");
    await until(async () => (await test.status()).counters["failed"] === 1);
    assert.ok(!test.open("10.9.0.3"));
    test.startBroker();
    await test.ready();
    // It is told of what is open.
    await until(() => test.broker.admits(address("10.9.0.2"), "pump", undefined));
    test.gate.knock(knockOf("valve", test.clock.nowMs, { address: address("10.9.0.3") }), "10.9.0.3");
    await until(() => test.open("10.9.0.3"));
  });

  it("opens nothing that the disk or the kernel does not take", async () => {
    await using test = await world();
    test.gate.firewall.openWindow = () => Promise.reject(new Error("the kernel refuses"));
    test.gate.knock(knockOf("pump", test.clock.nowMs));
    await until(async () => (await test.status()).counters["failed"] === 1);
    assert.ok(!test.open());
  });

  it("closes a window when the device is connected, once for each knock, and when its time is over", async () => {
    await using test = await world();
    const connection = { device: "pump", address: address("10.9.0.2") };
    test.gate.knock(knockOf("pump", test.clock.nowMs));
    test.gate.knock(knockOf("pump", test.clock.nowMs));
    await until(async () => test.open() && (await test.status()).windows[0]?.uses === 2);
    test.broker.connectedDevice({ ...connection, address: address("10.9.0.9") });
    test.broker.connectedDevice({ ...connection, device: "valve" });
    test.broker.connectedDevice(connection);
    await until(async () => (await test.status()).windows[0]?.uses === 1);
    assert.ok(test.open());
    test.broker.connectedDevice(connection);
    await until(() => !test.open());
    await until(() => !test.broker.admits(connection.address, "pump", undefined));

    test.gate.knock(knockOf("pump", test.clock.nowMs, { windowSeconds: 5 }));
    await until(() => test.open());
    test.clock.nowMs += 5_001;
    assert.ok(!test.open());
    await until(async () => (await test.status()).windowCount === 0);
  });

  it("keeps the kernel's window for a neighbour when one device at an address is done", async () => {
    await using test = await world();
    test.gate.knock(knockOf("pump", test.clock.nowMs, { windowSeconds: 30 }));
    test.gate.knock(knockOf("valve", test.clock.nowMs, { windowSeconds: 10 }));
    await until(async () => (await test.status()).windowCount === 2 && test.open());
    test.broker.connectedDevice({ device: "pump", address: address("10.9.0.2") });
    await until(async () => (await test.status()).windowCount === 1);
    assert.ok(test.open());
    await until(() => !test.broker.admits(address("10.9.0.2"), "pump", undefined));
    test.clock.nowMs += 10_001;
    assert.ok(!test.open());
  });

  it("closes at once for a device that says so, and for one that is revoked", async () => {
    await using test = await world();
    test.gate.knock(knockOf("pump", test.clock.nowMs));
    await until(() => test.open());
    test.gate.knock(knockOf("pump", test.clock.nowMs, { action: "close" }));
    await until(() => !test.open());

    test.gate.knock(knockOf("pump", test.clock.nowMs));
    await until(() => test.open());
    test.devices.shift();
    test.broker.forget("pump");
    await until(() => !test.open());
    assert.ok(!test.broker.admits(address("10.9.0.2"), undefined, undefined));
    test.gate.knock(knockOf("pump", test.clock.nowMs));
    await until(async () => (await test.status()).counters["unknown-device"] === 1);
    assert.ok(!test.open());
  });

  it("closes all windows when the clock is set back, as they would last for as much longer", async () => {
    await using test = await world();
    test.gate.knock(knockOf("pump", test.clock.nowMs));
    await until(() => test.open());
    test.clock.nowMs -= 3_600_000;
    await until(() => !test.open());
    await until(() => !test.broker.admits(address("10.9.0.2"), "pump", undefined));
    assert.equal((await test.status()).windowCount, 0);
  });

  it("closes what was opened with a key that was replaced, which opens nothing more", async () => {
    await using test = await world();
    test.gate.knock(knockOf("pump", test.clock.nowMs));
    await until(() => test.open());
    test.broker.device(linkDevice("pump", { keyVersion: 2 }));
    await until(() => !test.open());
    await until(() => !test.broker.admits(address("10.9.0.2"), "pump", undefined));
    test.gate.knock(knockOf("pump", test.clock.nowMs));
    await until(async () => (await test.status()).counters["unknown-device"] === 1);
    assert.ok(!test.open());
  });

  it("forgets devices that were removed while the broker was away, with their windows", async () => {
    await using test = await world();
    test.gate.knock(knockOf("pump", test.clock.nowMs));
    await until(() => test.open());
    test.broker[Symbol.dispose]();
    test.devices.shift();
    test.startBroker();
    await test.ready();
    await until(() => !test.open());
  });

  it("caps what one device may have open", async () => {
    await using test = await world();
    test.devices[0] = linkDevice("pump", { roaming: true });
    test.broker.refresh();
    await test.ready();
    for (let host = 1; host <= 12; host++) {
      test.gate.knock(knockOf("pump", test.clock.nowMs, { address: undefined }), `10.9.1.${host}`);
    }
    await until(async () => (await test.status()).knocks.length === 12);
    assert.equal((await test.status()).windowCount, 8);
  });

  it("writes one line for each source and minute, whatever is sent", async () => {
    const lines: string[] = [];
    const log: Log = { ...silentLog, warn: (_fields, message) => lines.push(message) };
    await using test = await world({ log });
    lines.length = 0;
    for (let length = 0; length <= 1500; length++) test.gate.knock(randomBytes(length), "10.9.0.66");
    assert.deepEqual(lines, [
      "a knock was refused",
      "a source sent too much that was invalid; it is locked out",
    ]);
    test.clock.nowMs += 60_000;
    test.gate.knock(randomBytes(84), "10.9.0.66");
    assert.equal(lines.length, 3);
  });
});

/** Each kind of bad packet, made from a valid one. */
const badPackets: Readonly<Record<string, (valid: () => Buffer, nowMs: number) => Iterable<Buffer>>> = {
  *"every length from 0 to 1,500, of noise"() {
    for (let length = 0; length <= 1_500; length++) yield randomBytes(length);
  },
  *"every length from 0 to 1,500 but the right one, beginning as a valid packet"(valid) {
    const whole = Buffer.concat([valid(), randomBytes(1_500)]);
    for (let length = 0; length <= 1_500; length++) if (length !== 84) yield whole.subarray(0, length);
  },
  *"every bit of a valid packet flipped"(valid) {
    for (let bit = 0; bit < 84 * 8; bit++) {
      const changed = valid();
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      yield changed;
    }
  },
  *"clocks in 1970 and 2106, with the hint of this hour and of theirs"(_valid, nowMs) {
    for (const timestampMs of [0, 1, 0xffff_ffff * 1_000, 0x1_0000_0000 * 1_000, Number.MAX_SAFE_INTEGER]) {
      yield knockOf("pump", nowMs, { timestampMs });
      yield knockOf("pump", timestampMs);
    }
  },
};

describe("bad input at the gate", () => {
  for (const [kind, packets] of Object.entries(badPackets)) {
    it(`opens nothing, ends nothing and costs one line for each source and minute: ${kind}`, async () => {
      const lines: string[] = [];
      const log: Log = { ...silentLog, warn: (_fields, message) => lines.push(message) };
      // Nobody is locked out here, so that each packet is looked at.
      await using test = await world({ log, rule: { invalidMax: 100_000 } });
      const { gate, clock } = test;
      lines.length = 0;
      let sent = 0;
      for (const packet of packets(() => knockOf("pump", clock.nowMs), clock.nowMs)) {
        gate.knock(packet, sent % 2 === 0 ? "10.9.0.2" : "10.9.0.66");
        sent += 1;
      }
      const { counters, windowCount } = await test.status();
      assert.equal(windowCount, 0);
      assert.equal(counters["accepted"], undefined);
      assert.deepEqual(lines, ["a knock was refused", "a knock was refused"], `${sent} packets`);
      gate.knock(knockOf("pump", clock.nowMs));
      await until(() => test.open());
    });
  }
});

describe("the gate's bans", () => {
  it("lock out after the sixth invalid packet, let in who proves who he is, and end", async () => {
    await using test = await world();
    const { gate, clock } = test;
    const banned = () => gate.firewall.admits(address("10.9.0.2"), 1, servicePort) === "banned";
    for (let count = 0; count < 5; count++) gate.knock(randomBytes(84));
    await pause();
    assert.ok(!banned());
    gate.knock(randomBytes(84));
    await until(banned);
    assert.equal((await gate.firewall.listBans())[0]?.remainingSeconds, 21_600);
    gate.knock(knockOf("pump", clock.nowMs));
    await until(() => test.open());
    // The ban itself stays for everybody else there.
    test.broker.connectedDevice({ device: "pump", address: address("10.9.0.2") });
    await until(banned);
    clock.nowMs += 21_600_001;
    assert.ok(!banned());
    await until(async () => (await test.status()).bans === 0);
  });

  it("survive a restart with the time that is left", async () => {
    await using test = await world();
    for (let count = 0; count < 6; count++) test.gate.knock(randomBytes(84), "2001:db8::1");
    await test.restartGate();
    test.clock.nowMs += 1_000_000;
    await test.restartGate();
    const [ban] = await test.gate.firewall.listBans();
    assert.deepEqual(ban, { source: source("2001:db8::/64"), remainingSeconds: 20_600 });
    // Another host of the same /64.
    assert.equal(test.gate.firewall.admits(address("2001:db8::2"), 1, servicePort), "banned");
  });

  it("start without those of a damaged file", async () => {
    await using test = await world();
    for (let count = 0; count < 6; count++) test.gate.knock(randomBytes(84));
    await test.gate[Symbol.asyncDispose]();
    writeFileSync(join(test.directory, "bans"), "no list of bans");
    test.gate = await testGate({ directory: test.directory, clock: test.clock, isNew: false });
    assert.deepEqual(await test.gate.firewall.listBans(), []);
  });

  it("count what fails at the broker", async () => {
    await using test = await world();
    for (let count = 0; count < 6; count++) test.broker.failed(address("10.9.0.5"), "password");
    await until(async () => (await test.gate.firewall.listBans()).length === 1);
  });

  it("are listed, added and lifted by operators", async () => {
    await using test = await world();
    const { socket } = test.gate;
    assert.deepEqual(await askGate(socket, { kind: "ban", source: "10.9.0.7", seconds: 60 }), {
      kind: "done",
      count: 1,
    });
    assert.deepEqual(await askGate(socket, { kind: "bans" }), {
      kind: "bans",
      bans: [{ source: "10.9.0.7", untilMs: test.clock.nowMs + 60_000 }],
      total: 1,
    });
    assert.deepEqual(await askGate(socket, { kind: "lift", source: "10.9.0.8" }), { kind: "done", count: 0 });
    assert.deepEqual(await askGate(socket, { kind: "lift", source: null }), { kind: "done", count: 1 });
    assert.deepEqual(await test.gate.firewall.listBans(), []);
  });

  it("in strict mode, lock out those who could prove it too", async () => {
    await using test = await world({ rule: { strict: true } });
    for (let count = 0; count < 6; count++) test.gate.knock(randomBytes(84));
    test.gate.knock(knockOf("pump", test.clock.nowMs));
    await pause();
    assert.ok(!test.open());
    test.gate.knock(knockOf("valve", test.clock.nowMs, { address: address("10.9.0.3") }), "10.9.0.3");
    await until(() => test.open("10.9.0.3"));
  });

  it("spare a source where a device is connected, ten times as long", async () => {
    await using test = await world();
    const { gate, clock } = test;
    test.connections.push({ device: "pump", address: address("10.9.0.2") });
    test.broker.connectedDevice({ device: "pump", address: address("10.9.0.2") });
    await until(async () => {
      for (let count = 0; count < 6; count++) gate.knock(randomBytes(84));
      clock.nowMs += 1_801_000;
      return (await test.status()).bans === 0;
    });
  });
});
