import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it, mock } from "node:test";

import { newDevice, type Device } from "@postern/identity/device";
import { openDataDirectory } from "@postern/identity/data-directory";
import { DeviceRegistry } from "@postern/identity/registry";
import { temporaryDataDirectory } from "@postern/identity/testing";

import { DeviceWatch } from "./devices.ts";

const startMs = Date.UTC(2027, 0, 1);

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

function prepare() {
  const temporary = temporaryDataDirectory();
  const registry = new DeviceRegistry(
    join(openDataDirectory(temporary.directory.path).path, "devices.jsonl"),
  );
  mock.timers.enable({ apis: ["setInterval", "setTimeout"] });
  const clock = { nowMs: startMs, wallMs: () => clock.nowMs, monotonicMs: () => 0 };
  const done: string[] = [];
  const audit: string[] = [];
  let dropped = 0;
  const watch = new DeviceWatch({
    registry,
    clock,
    broker: {
      endSessionsOf: (name) => done.push(`forget ${name}`),
      endConnectionsOf: (name) => done.push(`cut ${name}`),
    },
    forgetTlsSessions: () => (dropped += 1),
    audit: (device, detail) => audit.push(`${device} ${detail}`),
  });
  return {
    registry,
    clock,
    audit,
    /** What the broker was told since the last time. */
    take: () => done.splice(0),
    get dropped() {
      return dropped;
    },
    pass(ms: number): void {
      clock.nowMs += ms;
      mock.timers.tick(ms);
    },
    [Symbol.dispose]() {
      watch[Symbol.dispose]();
      mock.timers.reset();
      registry.close();
      temporary[Symbol.dispose]();
    },
  };
}

const [first, second] = ["AA", "BB"].map((byte) => ({
  fingerprint: Array.from({ length: 32 }, () => byte).join(":"),
  serialNumber: byte,
  notAfter: iso(startMs + 86_400_000_000),
}));
assert.ok(first !== undefined && second !== undefined);

const lamp: Device = { ...newDevice({ name: "lamp", tenant: "default" }, startMs), certificates: [first] };
const revoked = { at: iso(startMs), reason: "superseded" } as const;

describe("what becomes of devices while the server runs", () => {
  it("forgets the sessions of one that is revoked or removed, once", () => {
    for (const end of [{ revoked }, { removed: iso(startMs) }]) {
      using t = prepare();
      t.registry.put(lamp);
      t.take();
      t.registry.put({ ...lamp, roles: ["observer"] });
      assert.deepEqual(t.take(), []);
      t.registry.put({ ...lamp, ...end });
      t.registry.put({ ...lamp, ...end, groups: ["hall"] });
      assert.deepEqual(t.take(), ["forget lamp"]);
      assert.ok(t.dropped >= 1);
      assert.match(
        t.audit.join("\n"),
        /lamp added with roles \[\][^]*lamp has roles \[observer\][^]*sessions ended: 1/,
      );
    }
  });

  it("cuts the connections of one that lost a credential, and not of one that got one", () => {
    using t = prepare();
    const scram = undefined;
    const withSecrets: Device = {
      ...lamp,
      password: { hash: "$argon2id$1", scram },
      psk: { identity: "lamp", key: "a2V5" },
      tokens: [{ jti: "1", notAfter: first.notAfter }],
    };
    t.registry.put(lamp);
    t.take();
    t.registry.put({ ...withSecrets, certificates: [first, second] });
    assert.deepEqual(t.take(), []);
    const losses: readonly Partial<Device>[] = [
      { certificates: [{ ...first, revoked }, second] },
      { password: { hash: "$argon2id$2", scram } },
      { password: undefined },
      { psk: { identity: "lamp", key: "b3RoZXI=" } },
      { psk: undefined },
      { tokens: [{ jti: "1", notAfter: first.notAfter, revoked }] },
    ];
    for (const loss of losses) {
      t.registry.put({ ...withSecrets, certificates: [first, second] });
      t.take();
      t.registry.put({ ...withSecrets, certificates: [first, second], ...loss });
      assert.deepEqual(t.take(), ["cut lamp"], JSON.stringify(loss));
    }
  });

  it("cuts the connections when the overlap of a rotation is over, whenever the rotation was", () => {
    using t = prepare();
    t.registry.put(lamp);
    t.take();
    t.registry.put({ ...lamp, certificates: [{ ...first, ends: iso(startMs + 60_000) }, second] });
    t.pass(55_000);
    assert.deepEqual(t.take(), []);
    t.pass(10_000);
    assert.deepEqual(t.take(), ["cut lamp"]);
    t.pass(100_000);
    assert.deepEqual(t.take(), []);
  });

  it("cuts the connections when the overlap of a token that was replaced is over", () => {
    using t = prepare();
    t.registry.put({ ...lamp, tokens: [{ jti: "old", notAfter: first.notAfter }] });
    t.take();
    const old = { jti: "old", notAfter: iso(startMs + 60_000) };
    t.registry.put({ ...lamp, tokens: [old, { jti: "new", notAfter: first.notAfter }] });
    t.pass(55_000);
    assert.deepEqual(t.take(), []);
    t.pass(10_000);
    assert.deepEqual(t.take(), ["cut lamp"]);
    t.pass(100_000);
    assert.deepEqual(t.take(), []);
  });

  it("cuts at the end of each overlap, also when the device is changed at that very moment or rotated again before", () => {
    using t = prepare();
    const tokens = ["1", "2"].map((jti) => ({ jti, notAfter: first.notAfter }));
    const [one, two] = tokens;
    assert.ok(one !== undefined && two !== undefined);
    t.registry.put({ ...lamp, certificates: [first, second], tokens });
    t.take();
    const once: Device = {
      ...lamp,
      certificates: [{ ...first, ends: iso(startMs + 9_000) }, second],
      tokens: [{ ...one, notAfter: iso(startMs + 17_000) }, two],
    };
    t.registry.put(once);
    t.pass(8_000);
    t.pass(1_500);
    t.registry.put({ ...once, roles: ["observer"] });
    t.registry.put({
      ...once,
      tokens: [...once.tokens.slice(0, 1), { ...two, notAfter: iso(startMs + 27_000) }],
    });
    assert.deepEqual(t.take(), []);
    for (const passMs of [1_000, 10_000, 10_000]) {
      t.pass(passMs);
      assert.deepEqual(t.take(), ["cut lamp"]);
    }
    t.pass(100_000);
    assert.deepEqual(t.take(), []);
  });

  it("ends what somebody from outside has under the name of a new device", () => {
    using t = prepare();
    t.registry.put(lamp);
    assert.deepEqual(t.take(), ["forget lamp"]);
  });

  it("makes new ticket keys at once, and once more for all that came shortly after", () => {
    using t = prepare();
    const devices = Array.from({ length: 50 }, (_, index): Device =>
      newDevice({ name: `d${index}`, tenant: "a" }, startMs),
    );
    t.registry.putAll(devices);
    for (const device of devices) t.registry.put({ ...device, revoked });
    assert.equal(t.dropped, 1);
    t.pass(1_000);
    assert.equal(t.dropped, 2);
  });
});
