import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import {
  fwknopPacket,
  fwknopStanza,
  ip,
  MemoryPackets,
  source,
  vector,
  type FwknopPacket,
} from "../testing.ts";
import type { Refusal, Verdict } from "../verdict.ts";
import { strippedPrefix } from "./cipher.ts";
import type { FwknopDigest } from "./digests.ts";
import { FwknopVerifier, type FwknopOptions, type FwknopStanza } from "./verifier.ts";

const { nowMs } = vector;

function verifierOf(
  stanza: Partial<FwknopStanza> = {},
  options: Partial<FwknopOptions> = {},
): FwknopVerifier {
  return new FwknopVerifier({
    stanzas: [fwknopStanza(stanza)],
    memory: new MemoryPackets(),
    memoryLostAtMs: undefined,
    windowSecondsDefault: 30,
    windowSecondsMax: 300,
    ...options,
  });
}

function reason(verdict: Verdict): Refusal | "accepted" {
  return verdict.kind === "accepted" ? "accepted" : verdict.reason;
}

function judged(packet: FwknopPacket, stanza: Partial<FwknopStanza> = {}): Refusal | "accepted" {
  const made = fwknopPacket(packet, fwknopStanza(stanza));
  return reason(verifierOf(stanza).verify(made, source, nowMs));
}

/** Made once with openssl and checked against a second implementation: KEY "correct horse", HMAC_KEY "battery staple". */
const workedExample =
  "8BAgMEBQYHCKwtT5o3z0Gjwvot7cVXJp+7TRxE7HEdzlMIF6yE/vOQEA4FkBG15NIijJCLbyYS4ZlkcmAdsZoFw32w2ah+hBVY+C6zymdCiHaebTogVqkMaw8M4nvpQwimOw83oDcy5h5UbqbbvLTh/HKPw9bjRc41gMOa/MLKuyy+3AFr32j0WY0jsZX5L8fzGuawQ6KIVQ";

/** What the fwknop client 2.6.10 sent for `--spoof-user iot -A tcp/8883 -a 10.9.0.2`. */
const clientExample = {
  key: Buffer.from("yVO3rij+2zQfXZbNBtlEA3+kDCrLjWTsVJrjtx+Ww+8=", "base64"),
  hmacKey: Buffer.from(
    "PfJqc67pr3HdO1FJaS6RCe3PXr4nTTdLTzxUIdHyNjpJK/3Y8zTMVTGYSMnA9ZMg8c/EHIbn8DzAIaxm0YJmvg==",
    "base64",
  ),
  wire: "8zQkkhXlUDPUMRAPvrxBoDWhyKEJzg53t1lp0gKgPchYm2Ek2nws24c0gUBVqLNm2IY/MVJ8R/nuwgXTR1/U84uI89dSme1yjg05JUnSgrv8w+JVmjV8gw1CQT6s0/o/YdnfL5ur9pG4NV6pwtPTT/r7TrQoW5f4AU/H3ClFtl7DbA02+z4xTwFE9Qvh4nymOTnIucI+tzmI",
};

describe("the fwknop verifier", () => {
  it("accepts the worked example and what the client sent", () => {
    assert.equal(fwknopPacket().toString(), workedExample);
    const expected = {
      kind: "accepted",
      action: "open",
      device: "fwknop-client",
      address: "10.9.0.2",
      sourcePort: 0,
      ports: [8883],
      windowSeconds: 30,
      certBind: undefined,
      madeAtMs: undefined,
    };
    assert.deepEqual(verifierOf().verify(Buffer.from(workedExample), source, nowMs), expected);
    const { wire, ...keys } = clientExample;
    assert.deepEqual(verifierOf(keys).verify(Buffer.from(wire), source, nowMs), expected);
  });

  it("accepts a packet once, also after a restart, and in no other spelling", () => {
    const memory = new MemoryPackets();
    const first = verifierOf({}, { memory });
    assert.equal(reason(first.verify(fwknopPacket(), source, nowMs)), "accepted");
    assert.equal(reason(first.verify(fwknopPacket(), source, nowMs)), "replayed");
    assert.equal(reason(verifierOf({}, { memory }).verify(fwknopPacket(), source, nowMs)), "replayed");
    // The last character holds two bits that mean nothing: "Q", "R", "S" and "T" decode to the same HMAC.
    for (const last of "RST") {
      const respelled = Buffer.from(workedExample.slice(0, -1) + last);
      assert.equal(reason(first.verify(respelled, source, nowMs)), "wrong-key");
    }
    const unstripped = Buffer.from(strippedPrefix + workedExample);
    assert.equal(reason(first.verify(unstripped, source, nowMs)), "malformed");
  });

  it("accepts several ports, a time-out within the maximum, and the source of the packet where that is allowed", () => {
    const ports = new Set([8883, 8884]);
    const verifier = verifierOf({ ports, roaming: true });
    const made = fwknopPacket({ type: "3", message: "0.0.0.0,tcp/8883,tcp/8884", more: ["9999"] });
    const verdict = verifier.verify(made, { address: ip("10.9.0.7"), port: 1 }, nowMs);
    assert.deepEqual(verdict.kind === "accepted" && [verdict.ports, verdict.windowSeconds, verdict.address], [
      [8883, 8884],
      300,
      "10.9.0.7",
    ]);
  });

  const hmacs: readonly FwknopDigest[] = [
    "md5",
    "sha1",
    "sha256",
    "sha384",
    "sha512",
    "sha3-256",
    "sha3-512",
  ];
  for (const hmacDigest of hmacs) {
    it(`verifies HMAC-${hmacDigest}, where that is configured`, () => {
      assert.equal(judged({}, { hmacDigest }), "accepted");
      if (hmacDigest !== "sha256") {
        const made = fwknopPacket({}, fwknopStanza({ hmacDigest }));
        assert.equal(reason(verifierOf().verify(made, source, nowMs)), "wrong-key");
      }
    });
  }

  it("refuses messages protected with MD5 and SHA-1 unless they are allowed (check 26)", () => {
    for (const digest of ["md5", "sha1"] as const) {
      assert.equal(judged({ digest }), "not-allowed");
      assert.equal(judged({ digest }, { weakDigests: true }), "accepted");
    }
    for (const digest of ["sha384", "sha512", "sha3-256", "sha3-512"] as const) {
      assert.equal(judged({ digest }), "accepted");
    }
  });

  const notAllowed: readonly [name: string, packet: FwknopPacket][] = [
    ["a command", { type: "0", message: "10.9.0.2,reboot" }],
    ["NAT access", { type: "2", more: ["MTAuOS4wLjMsODA"] }],
    ["NAT access with time-out", { type: "4", more: ["MTAuOS4wLjMsODA", "30"] }],
    ["local NAT", { type: "5", more: ["MTAuOS4wLjMsODA"] }],
    ["local NAT with time-out", { type: "6", more: ["MTAuOS4wLjMsODA", "30"] }],
    ["server auth", { more: ["Y3J5cHQsc2VjcmV0"] }],
    ["UDP", { message: "10.9.0.2,udp/8883" }],
  ];
  for (const [name, packet] of notAllowed) {
    it(`refuses ${name} (check 26)`, () => assert.equal(judged(packet), "not-allowed"));
  }

  it("refuses a packet without an HMAC (check 26)", () => {
    const bare = Buffer.from(workedExample.slice(0, -43));
    assert.equal(reason(verifierOf().verify(bare, source, nowMs)), "wrong-key");
  });

  it("refuses other addresses, ports, users and times", () => {
    assert.equal(judged({ message: "10.9.0.3,tcp/8883" }), "source-mismatch");
    assert.equal(judged({ message: "0.0.0.0,tcp/8883" }), "source-required");
    assert.equal(judged({ message: "10.9.0.2,tcp/22" }), "service-not-granted");
    assert.equal(judged({ message: "10.9.0.2,tcp/8883,tcp/22" }), "service-not-granted");
    assert.equal(judged({ username: "root" }, { username: "iot" }), "wrong-key");
    assert.equal(judged({ username: "iot" }, { username: "iot" }), "accepted");
    assert.deepEqual(
      [-121, -120, 120, 121].map((offset) => judged({ seconds: `${nowMs / 1000 + offset}` })),
      ["stale", "accepted", "accepted", "stale"],
    );
    for (const far of ["0", "4294967295", "999999999999"]) assert.equal(judged({ seconds: far }), "stale");
  });

  const malformed: readonly [name: string, packet: FwknopPacket][] = [
    ["no fields", { plain: "" }],
    ["a short random value", { plain: "123:aW90:1795418364:3.0.0:1:MTAuOS4wLjIsdGNwLzg4ODM" }],
    ["an unknown type", { type: "7" }],
    ["no port", { message: "10.9.0.2" }],
    ["an IPv6 address", { message: "fd00::2,tcp/8883" }],
    ["a port that does not exist", { message: "10.9.0.2,tcp/65536" }],
    ["a shell's separators", { message: "10.9.0.2,tcp/8883;reboot" }],
    ["many ports", { message: `10.9.0.2${",tcp/1".repeat(17)}` }],
    ["a long message", { message: `10.9.0.2,tcp/${"8".repeat(300)}` }],
    ["a long user name", { username: "u".repeat(65) }],
    ["a control character in the user name", { username: "a\nb" }],
    ["a negative time-out", { type: "3", more: ["-1"] }],
    ["no time-out where there must be one", { type: "3" }],
    ["a time that is no number", { seconds: "12x" }],
  ];
  for (const [name, packet] of malformed) {
    it(`refuses a message with ${name}`, () => {
      assert.ok(["malformed", "not-allowed"].includes(judged(packet)), judged(packet));
    });
  }

  it("finds the stanza of a packet among several, and refuses keys of none", () => {
    const other = fwknopStanza({ name: "other", hmacKey: Buffer.from("another key") });
    const verifier = verifierOf({}, { stanzas: [other, fwknopStanza()] });
    const verdict = verifier.verify(fwknopPacket(), source, nowMs);
    assert.equal(verdict.kind === "accepted" && verdict.device, "fwknop-client");
    const wrong = fwknopPacket({}, fwknopStanza({ key: Buffer.from("wrong") }));
    assert.equal(reason(verifierOf().verify(wrong, source, nowMs)), "wrong-key");
  });

  it("accepts nothing from before its memory was lost, and nothing when it is full", () => {
    const lost = verifierOf({}, { memoryLostAtMs: nowMs });
    assert.equal(reason(lost.verify(fwknopPacket(), source, nowMs)), "counters-lost");
    const later = nowMs + 121_000;
    const made = fwknopPacket({ seconds: `${later / 1000}` });
    assert.equal(reason(lost.verify(made, source, later)), "accepted");
    const full = verifierOf({}, { memory: new MemoryPackets(0) });
    assert.equal(reason(full.verify(fwknopPacket(), source, nowMs)), "overloaded");
  });

  it("opens nothing for a packet with any bit flipped", () => {
    const verifier = verifierOf();
    for (let bit = 0; bit < workedExample.length * 8; bit++) {
      const changed = Buffer.from(workedExample);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.ok(
        ["malformed", "wrong-key"].includes(reason(verifier.verify(changed, source, nowMs))),
        `bit ${bit}`,
      );
    }
  });

  it("throws for no bytes of any length", () => {
    const verifier = verifierOf();
    for (let length = 0; length <= 1500; length++) {
      assert.equal(verifier.verify(randomBytes(length), source, nowMs).kind, "refused");
      const text = Buffer.from(`8${"A".repeat(length)}`);
      assert.equal(verifier.verify(text, source, nowMs).kind, "refused");
    }
    fc.assert(
      fc.property(fc.string({ maxLength: 400 }), (plain) => {
        assert.equal(reason(verifier.verify(fwknopPacket({ plain }), source, nowMs)), "malformed");
      }),
    );
  });

  it("refuses to be configured with keys that fwknop cannot use, or with too many", () => {
    for (const wrong of [{ key: Buffer.alloc(33) }, { key: Buffer.alloc(0) }, { hmacKey: Buffer.alloc(0) }]) {
      assert.throws(() => verifierOf(wrong), RangeError);
    }
    const stanzas = Array.from({ length: 33 }, () => fwknopStanza());
    assert.throws(() => verifierOf({}, { stanzas }), RangeError);
  });
});
