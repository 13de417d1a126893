import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { ip, packet, vector, vectorKeys } from "../testing.ts";
import { deriveKnockSecret, hintEpoch, hintOf, knockKeys } from "./keys.ts";
import { openPacket, packetBytes, sealPacket } from "./packet.ts";

const keys = vectorKeys();

function hintAt(ms: number): string {
  return hintOf(keys, hintEpoch(ms)).toString("hex");
}

describe("the SPA1 packet", () => {
  it("is that of the test vector", () => {
    const secret = deriveKnockSecret(vector.master, vector.owner).toString("hex");
    assert.equal(
      secret,
      "c1679d3a02812f867ce16033027a3d96fde81e3f023001b84ffa24ea2d911f4a" +
        "19be2e7270677e3335845cb69608834f0cc7c80dce85ee7941c5fd0f6454d983",
    );
    assert.equal(
      packet().toString("hex"),
      "f3d198dbea473a46000102030405060708090a0b4662e5ad9e4541ac041018bfbb37bf6c2bdea4a36c16af079095d75441a699a7" +
        "7b6d572b6107c1115d70a7ca8d271a57e425fe81707acca853ce00380d455756",
    );
    assert.deepEqual(openPacket(packet(), keys.encryption, vector.gateId), {
      kind: "value",
      request: vector.request,
    });
  });

  it("opens for no other gate, device, key version or tenant", () => {
    assert.equal(openPacket(packet(), keys.encryption, "gate-0002").kind, "forged");
    for (const other of [{ device: "dev-2" }, { keyVersion: 2 }, { tenant: "tenant-b" }]) {
      const { encryption } = knockKeys(deriveKnockSecret(vector.master, { ...vector.owner, ...other }));
      assert.equal(openPacket(packet(), encryption, vector.gateId).kind, "forged");
    }
  });

  it("gives back whatever was put in", () => {
    const requests = fc.record({
      action: fc.constantFrom("open" as const, "close" as const, "extend" as const),
      clockless: fc.boolean(),
      timestampMs: fc.maxSafeNat(),
      counter: fc.maxSafeNat(),
      address: fc.constantFrom(undefined, ip("10.0.0.1"), ip("2001:db8::1"), ip("::1")),
      sourcePort: fc.nat(65_535),
      serviceId: fc.nat(65_535),
      windowSeconds: fc.nat(65_535),
      certBind: fc.option(
        fc.uint8Array({ minLength: 6, maxLength: 6 }).map((bytes) => Buffer.from(bytes).fill(1, 0, 1)),
        { nil: undefined },
      ),
    });
    fc.assert(
      fc.property(
        requests,
        fc.uint8Array({ minLength: 12, maxLength: 12 }),
        fc.string(),
        (request, nonce, gateId) => {
          const sealed = sealPacket(request, { keys, gateId, nonce, epoch: hintEpoch(request.timestampMs) });
          assert.equal(sealed.length, packetBytes);
          assert.deepEqual(openPacket(sealed, keys.encryption, gateId), {
            kind: "value",
            request: { ...request },
          });
        },
      ),
      { numRuns: 300 },
    );
  });

  it("opens with no bit changed", () => {
    for (let bit = 0; bit < packetBytes * 8; bit++) {
      const changed = packet();
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.equal(openPacket(changed, keys.encryption, vector.gateId).kind, "forged", `bit ${bit}`);
    }
  });

  it("opens in no other length, and throws in none", () => {
    for (let length = 0; length <= 1500; length++) {
      if (length === packetBytes) continue;
      const bytes = Buffer.alloc(length);
      packet().copy(bytes);
      assert.equal(openPacket(bytes, keys.encryption, vector.gateId).kind, "malformed");
    }
  });

  it("refuses to be made of what does not fit", () => {
    const wrong = [
      { counter: -1 },
      { windowSeconds: 65_536 },
      { serviceId: -1 },
      { certBind: Buffer.alloc(5) },
    ];
    for (const request of wrong) assert.throws(() => packet(request), RangeError);
    assert.throws(() => knockKeys(Buffer.alloc(63)), RangeError);
    assert.throws(() => deriveKnockSecret(Buffer.alloc(31), vector.owner), RangeError);
  });
});

describe("the hint", () => {
  it("changes with the hour, and is defined from 1970 to 2106", () => {
    const hour = 3_600_000;
    assert.equal(hintAt(vector.nowMs), "f3d198dbea473a46");
    assert.notEqual(hintAt(vector.nowMs + hour), hintAt(vector.nowMs));
    assert.equal(hintEpoch(0), 0);
    assert.equal(hintEpoch(hour - 1), 0);
    assert.equal(hintEpoch(hour), 1);
    assert.equal(hintEpoch(0xffffffff * 1000), 1_193_046);
    assert.equal(hintAt(0xffffffff * 1000).length, 16);
  });
});
