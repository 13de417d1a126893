import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { ip, knockingDevice, MemoryCounters, packet, source, vector, verifierOf } from "../testing.ts";
import type { KnockSource, Refusal, Verdict } from "../verdict.ts";
import { clocklessEpoch, deriveKnockSecret, knockKeys } from "./keys.ts";
import { packetBytes } from "./packet.ts";

const { nowMs } = vector;

function reason(verdict: Verdict): Refusal | "accepted" {
  return verdict.kind === "accepted" ? "accepted" : verdict.reason;
}

function from(address: string): KnockSource {
  return { address: ip(address), port: 1 };
}

function quartile(list: number[]): number {
  return list.sort((a, b) => a - b)[list.length >> 2] ?? 0;
}

describe("the SPA1 verifier", () => {
  it("accepts a valid packet once, and tells what to open for whom", () => {
    const verifier = verifierOf();
    assert.deepEqual(verifier.verify(packet(), source, nowMs), {
      kind: "accepted",
      action: "open",
      device: "dev-1",
      address: "10.9.0.2",
      sourcePort: 0,
      ports: [8883],
      windowSeconds: 30,
      certBind: Buffer.from("a1b2c3d4e5f6", "hex"),
      madeAtMs: nowMs,
    });
    assert.equal(reason(verifier.verify(packet(), source, nowMs)), "replayed");
    assert.equal(reason(verifier.verify(packet({ counter: 43 }), source, nowMs)), "accepted");
  });

  it("accepts nothing again after a restart", () => {
    const counters = new MemoryCounters();
    assert.equal(reason(verifierOf(undefined, { counters }).verify(packet(), source, nowMs)), "accepted");
    assert.equal(reason(verifierOf(undefined, { counters }).verify(packet(), source, nowMs)), "replayed");
  });

  it("takes packets up to 60 s old or early, and no others", () => {
    const offsets: readonly [ms: number, expected: Refusal | "accepted"][] = [
      [-60_000, "accepted"],
      [60_000, "accepted"],
      [-60_001, "stale"],
      [60_001, "stale"],
      [-nowMs, "unknown-device"],
      [0xffffffff * 1000 - nowMs, "unknown-device"],
    ];
    for (const [ms, expected] of offsets) {
      const verdict = verifierOf().verify(packet({ timestampMs: nowMs + ms }), source, nowMs);
      assert.equal(reason(verdict), expected, `${ms} ms`);
    }
  });

  it("takes a device without a clock by its counter alone, where that is allowed, and only from the address it names", () => {
    const clockless = { clockless: true, timestampMs: 0 };
    const verifier = verifierOf([knockingDevice({ clockless: true }, { roaming: true })]);
    const sealed = (counter: number, more = {}) =>
      packet({ ...clockless, counter, ...more }, { epoch: clocklessEpoch, nonce: randomBytes(12) });
    assert.equal(reason(verifier.verify(sealed(42), source, nowMs)), "accepted");
    assert.equal(reason(verifier.verify(sealed(42), source, nowMs)), "replayed");
    assert.equal(reason(verifier.verify(sealed(500), source, nowMs)), "accepted");
    assert.equal(reason(verifier.verify(sealed(400), source, nowMs)), "too-old");
    assert.equal(
      reason(verifier.verify(sealed(501, { address: undefined }), source, nowMs)),
      "source-required",
    );
    assert.equal(
      reason(verifierOf().verify(packet(clockless, { epoch: 498_727 }), source, nowMs)),
      "clock-required",
    );
  });

  it("binds a packet to the address it is for", () => {
    assert.equal(reason(verifierOf().verify(packet(), from("10.9.0.3"), nowMs)), "source-mismatch");
    const open = packet({ address: undefined });
    assert.equal(reason(verifierOf().verify(open, source, nowMs)), "source-required");
    const roaming = verifierOf([knockingDevice({}, { roaming: true })]);
    const verdict = roaming.verify(open, from("2001:db8::7"), nowMs);
    assert.equal(verdict.kind === "accepted" && verdict.address, "2001:db8::7");
    assert.equal(reason(roaming.verify(packet({ counter: 43 }), from("10.9.0.3"), nowMs)), "source-mismatch");
  });

  it("lets a device knock from its registered addresses only", () => {
    const addresses = new Set([ip("10.9.0.2")]);
    const verifier = verifierOf([knockingDevice({}, { roaming: true, addresses })]);
    const other = { address: ip("10.9.0.3"), port: 1 };
    assert.equal(
      reason(verifier.verify(packet({ address: undefined }), other, nowMs)),
      "address-not-registered",
    );
    assert.equal(reason(verifier.verify(packet({ counter: 43 }), source, nowMs)), "accepted");
  });

  it("opens only services that are there and granted", () => {
    const verifier = verifierOf([knockingDevice({}, { services: new Set([2, 3]) })]);
    assert.equal(reason(verifier.verify(packet(), source, nowMs)), "service-not-granted");
    assert.equal(reason(verifier.verify(packet({ serviceId: 3 }), source, nowMs)), "service-not-granted");
    const verdict = verifier.verify(packet({ serviceId: 2 }), source, nowMs);
    assert.deepEqual(verdict.kind === "accepted" && verdict.ports, [8883, 8884]);
  });

  it("caps the window, and gives the default where none is asked for", () => {
    const verifier = verifierOf();
    const seconds = (asked: number, counter: number) => {
      const verdict = verifier.verify(packet({ windowSeconds: asked, counter }), source, nowMs);
      return verdict.kind === "accepted" && verdict.windowSeconds;
    };
    assert.deepEqual([seconds(0, 1), seconds(300, 2), seconds(65_535, 3)], [10, 300, 300]);
  });

  it("accepts nothing from before it lost its counters, and nothing without a clock since", () => {
    const device = knockingDevice({ clockless: true });
    const options = { countersLostAtMs: nowMs, counters: new MemoryCounters() };
    const verifier = verifierOf([device], options);
    const later = nowMs + 60_001;
    assert.equal(reason(verifier.verify(packet(), source, nowMs)), "counters-lost");
    assert.equal(
      reason(verifier.verify(packet({ timestampMs: nowMs + 60_000 }), source, later)),
      "counters-lost",
    );
    const clockless = packet({ clockless: true, timestampMs: 0 }, { epoch: clocklessEpoch });
    assert.equal(reason(verifier.verify(clockless, source, later)), "counters-lost");
    assert.equal(reason(verifier.verify(packet({ timestampMs: later }), source, later)), "accepted");
  });

  it("accepts nothing of a time that its memory is unsure of, from devices that have a clock", () => {
    const counters = new MemoryCounters();
    counters.forgottenUntilMs = nowMs + 10;
    const verifier = verifierOf([knockingDevice({ clockless: true })], { counters });
    const judged = [0, 10, 11, 11].map((ms) =>
      reason(verifier.verify(packet({ timestampMs: nowMs + ms, counter: 42 + ms }), source, nowMs)),
    );
    assert.deepEqual(judged, ["unsure", "unsure", "accepted", "replayed"]);
    const clockless = packet({ clockless: true, timestampMs: 0, counter: 4 }, { epoch: clocklessEpoch });
    assert.equal(reason(verifier.verify(clockless, source, nowMs)), "accepted");
  });

  it("knows a removed device no more, and refuses the old key of a renewed one", () => {
    const verifier = verifierOf();
    verifier.table.delete("dev-1");
    assert.equal(reason(verifier.verify(packet(), source, nowMs)), "unknown-device");
    const keys = knockKeys(deriveKnockSecret(vector.master, { ...vector.owner, keyVersion: 2 }));
    const renewed = verifierOf([knockingDevice({ keys, keyVersion: 2 })]);
    assert.equal(reason(renewed.verify(packet(), source, nowMs)), "unknown-device");
    assert.equal(reason(renewed.verify(packet({}, { keys }), source, nowMs)), "accepted");
  });

  it("opens nothing for a packet with any bit flipped", () => {
    const verifier = verifierOf();
    for (let bit = 0; bit < packetBytes * 8; bit++) {
      const changed = packet();
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const expected = bit < 64 ? "unknown-device" : "wrong-key";
      assert.equal(reason(verifier.verify(changed, source, nowMs)), expected, `bit ${bit}`);
    }
    assert.equal(reason(verifier.verify(packet(), source, nowMs)), "accepted");
  });

  it("throws for no bytes of any length, with a known hint or without", () => {
    const verifier = verifierOf();
    const hint = packet().subarray(0, 8);
    for (let length = 0; length <= 1500; length++) {
      for (const bytes of [
        randomBytes(length),
        Buffer.concat([hint, randomBytes(length)]).subarray(0, length),
      ]) {
        assert.equal(verifier.verify(bytes, source, nowMs).kind, "refused");
      }
    }
    fc.assert(
      fc.property(fc.uint8Array({ minLength: packetBytes, maxLength: packetBytes }), (bytes) => {
        assert.equal(verifier.verify(bytes, source, nowMs).kind, "refused");
      }),
    );
  });

  it("judges bodies that a device's own key made, whatever they hold", () => {
    const verifier = verifierOf();
    const requests = fc.record({
      action: fc.constantFrom("open" as const, "close" as const, "extend" as const),
      clockless: fc.boolean(),
      timestampMs: fc.oneof(fc.maxSafeNat(), fc.constant(nowMs)),
      counter: fc.maxSafeNat(),
      address: fc.constantFrom(undefined, source.address, ip("::1")),
      sourcePort: fc.nat(65_535),
      serviceId: fc.nat(5),
      windowSeconds: fc.nat(65_535),
    });
    fc.assert(
      fc.property(requests, (request) => {
        const verdict = verifier.verify(packet(request, { epoch: 498_727 }), source, nowMs);
        if (verdict.kind !== "accepted") return;
        assert.equal(request.address, source.address);
        assert.equal(request.timestampMs, nowMs);
        assert.ok(!request.clockless && [1, 2].includes(request.serviceId) && verdict.windowSeconds <= 300);
      }),
    );
  });
});

describe("the time to refuse", () => {
  it("does not tell an unknown device from a wrong key", () => {
    const verifier = verifierOf(undefined, { disguisedPerSecondMax: 1_000_000 });
    const wrongKey = packet();
    wrongKey[83] = (wrongKey[83] ?? 0) ^ 1;
    const unknown = packet();
    unknown[0] = (unknown[0] ?? 0) ^ 1;
    const once = (bytes: Buffer): number => {
      const start = process.hrtime.bigint();
      verifier.verify(bytes, source, nowMs);
      return Number(process.hrtime.bigint() - start);
    };
    // Both kinds in turn, so that what else the machine does meets both; quartiles, so that its hiccups do not count.
    const rounds = Array.from({ length: 5 }, () => {
      const times = { wrongKey: [] as number[], unknown: [] as number[] };
      for (let index = 0; index < 3000; index++) {
        times.wrongKey.push(once(wrongKey));
        times.unknown.push(once(unknown));
      }
      return quartile(times.unknown) / quartile(times.wrongKey);
    });
    const ratio = rounds.sort((a, b) => a - b)[2] ?? 0;
    assert.ok(ratio > 0.75 && ratio < 1.33, `unknown device / wrong key = ${rounds.join(", ")}`);
  });

  it("costs little in a flood of packets of unknown devices", () => {
    const verifier = verifierOf(undefined, { disguisedPerSecondMax: 0 });
    const unknown = Array.from({ length: 1000 }, () => randomBytes(packetBytes));
    const best = Math.min(
      ...Array.from({ length: 20 }, () => {
        const start = process.hrtime.bigint();
        for (const bytes of unknown) verifier.verify(bytes, source, nowMs);
        return Number(process.hrtime.bigint() - start) / unknown.length;
      }),
    );
    assert.ok(best < 10_000, `${best} ns for each packet`);
  });
});
