import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";

import { ip, MemoryPackets } from "../testing.ts";
import type { Refusal, Verdict } from "../verdict.ts";
import { thesisPacket, ThesisVerifier, type ThesisOptions } from "./verifier.ts";

const address = ip("192.168.1.88");
const source = { address, port: 40_000 };
const password = "supersecretpassword";
const nowMs = 1_524_848_981_700;

function verifierOf(options: Partial<ThesisOptions> = {}): ThesisVerifier {
  return new ThesisVerifier({
    passwords: [{ name: "everybody", password, ports: [8883], windowSeconds: 120 }],
    skewSeconds: 0,
    memory: new MemoryPackets(),
    memoryLostAtMs: undefined,
    ...options,
  });
}

function reason(verdict: Verdict): Refusal | "accepted" {
  return verdict.kind === "accepted" ? "accepted" : verdict.reason;
}

describe("the packet of the thesis", () => {
  it("is that of its examples (§3.6.3 and figure 3.8)", () => {
    const example = thesisPacket(1_523_357_581_000, ip("2.225.190.3"), "somethingsecure");
    assert.equal(example.toString(), "35b45e73c99905b675ffb05b78714eb9");
    assert.equal(thesisPacket(nowMs, address, password).toString(), "d27f206bc552a8556a91486a86a7a766");
  });

  it("opens the door in its own second, for its own address, once", () => {
    const made = thesisPacket(nowMs, address, password);
    const verifier = verifierOf();
    assert.deepEqual(verifier.verify(made, source, nowMs), {
      kind: "accepted",
      action: "open",
      device: "everybody",
      address,
      sourcePort: 0,
      ports: [8883],
      windowSeconds: 120,
      certBind: undefined,
      madeAtMs: undefined,
    });
    assert.equal(reason(verifier.verify(made, source, nowMs)), "replayed");
    assert.equal(
      reason(verifierOf().verify(made, { ...source, address: ip("192.168.1.89") }, nowMs)),
      "wrong-key",
    );
    for (const offsetMs of [-1000, 1000]) {
      assert.equal(reason(verifierOf().verify(made, source, nowMs + offsetMs)), "wrong-key");
      assert.equal(reason(verifierOf({ skewSeconds: 1 }).verify(made, source, nowMs + offsetMs)), "accepted");
      assert.equal(
        reason(verifierOf({ skewSeconds: 1 }).verify(made, source, nowMs + 2 * offsetMs)),
        "wrong-key",
      );
    }
  });

  it("may end with a line end", () => {
    const made = thesisPacket(nowMs, address, password).toString();
    for (const end of ["\n", "\r\n"]) {
      assert.equal(reason(verifierOf().verify(Buffer.from(made + end), source, nowMs)), "accepted");
    }
    assert.equal(reason(verifierOf().verify(Buffer.from(`${made}\n\n`), source, nowMs)), "malformed");
    assert.equal(reason(verifierOf().verify(Buffer.from(made.toUpperCase()), source, nowMs)), "malformed");
  });

  it("opens nothing that could be from before the memory was lost, or that cannot be remembered", () => {
    const made = thesisPacket(nowMs, address, password);
    const lost = verifierOf({ memoryLostAtMs: nowMs });
    assert.equal(reason(lost.verify(made, source, nowMs)), "counters-lost");
    const later = thesisPacket(nowMs + 1000, address, password);
    assert.equal(reason(lost.verify(later, source, nowMs + 1000)), "accepted");
    const full = verifierOf({ memory: new MemoryPackets(0) });
    assert.equal(reason(full.verify(made, source, nowMs)), "overloaded");
  });

  it("throws for no bytes, and opens nothing for any bit flipped", () => {
    const verifier = verifierOf({ skewSeconds: 1 });
    for (let length = 0; length <= 1500; length++) {
      assert.equal(verifier.verify(randomBytes(length), source, nowMs).kind, "refused");
    }
    for (let bit = 0; bit < 32 * 8; bit++) {
      const changed = thesisPacket(nowMs, address, password);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.equal(verifier.verify(changed, source, nowMs).kind, "refused");
    }
  });

  it("refuses to be configured with too many passwords", () => {
    const one = { name: "one", password, ports: [8883], windowSeconds: 120 };
    assert.throws(() => verifierOf({ passwords: Array.from({ length: 33 }, () => one) }), RangeError);
  });
});
