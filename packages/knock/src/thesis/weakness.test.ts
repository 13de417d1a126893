import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";

import { ip, MemoryPackets, packet, source as spaSource, vector, verifierOf } from "../testing.ts";
import { thesisPacket, thesisText, ThesisVerifier } from "./verifier.ts";

/*
 * The experiments of docs/GATE.md: what is wrong with hex MD5 of `timestamp:client-ip:password`.
 */

const address = ip("192.168.1.88");
const source = { address, port: 40_000 };
const nowMs = 1_524_848_981_700;

/** The daemon of the thesis §3.8.2, as it stands there: it compares with the hash of its own second, and remembers nothing. */
function daemonOfTheThesis(received: string, clientIp: string, password: string, unixMs: number): boolean {
  const timestamp = Math.floor(unixMs / 1000);
  return received === createHash("md5").update(`${timestamp}:${clientIp}:${password}`).digest("hex");
}

describe("why the packet of the thesis is weak", () => {
  it("gives its password away to whoever sees one packet and has a list of words", () => {
    const password = "dragon77";
    const seen = thesisPacket(nowMs, address, password).toString();
    // What stands beside it on the wire: the source's address, and the time it was seen.
    const words = Array.from(
      { length: 100_000 },
      (_, number) => `${["love", "dragon", "summer"][number % 3]}${number >> 2}`,
    );
    words[77_777] = password;
    const start = performance.now();
    const found = words.find((word) => {
      const text = thesisText(Math.floor(nowMs / 1000), address, word);
      return createHash("md5").update(text).digest("hex") === seen;
    });
    const seconds = (performance.now() - start) / 1000;
    assert.equal(found, password);
    assert.ok(77_777 / seconds > 20_000, `${77_777 / seconds} words a second on one core`);
    // From then on the attacker makes packets of his own.
    const later = nowMs + 3_600_000;
    const attacker = ip("203.0.113.66");
    const forged = thesisPacket(later, attacker, found).toString();
    assert.ok(daemonOfTheThesis(forged, attacker, password, later));
  });

  it("can be sent again within its second to the thesis's daemon; ours takes it once", () => {
    const password = "supersecretpassword";
    const seen = thesisPacket(nowMs, address, password);
    for (let again = 0; again < 3; again++) {
      assert.ok(daemonOfTheThesis(seen.toString(), address, password, nowMs + 100 * again));
    }
    const verifier = new ThesisVerifier({
      passwords: [{ name: "everybody", password, ports: [8883], windowSeconds: 120 }],
      skewSeconds: 0,
      memory: new MemoryPackets(),
      memoryLostAtMs: undefined,
    });
    assert.equal(verifier.verify(seen, source, nowMs).kind, "accepted");
    assert.equal(verifier.verify(seen, source, nowMs + 100).kind, "refused");
  });

  it("fails when a clock is a second off, or the packet a second late", () => {
    const password = "supersecretpassword";
    const seen = thesisPacket(nowMs, address, password).toString();
    assert.ok(!daemonOfTheThesis(seen, address, password, nowMs + 1_000));
    assert.ok(!daemonOfTheThesis(seen, address, password, nowMs - 1_000));
    // Sent in the last tenth of a second, it is late after 100 ms on the way.
    const late = thesisPacket(1_524_848_981_950, address, password).toString();
    assert.ok(!daemonOfTheThesis(late, address, password, 1_524_848_981_950 + 100));
  });

  it("fails behind NAT, where the client does not know the address that is seen", () => {
    const password = "supersecretpassword";
    const made = thesisPacket(nowMs, ip("192.168.1.88"), password).toString();
    assert.ok(!daemonOfTheThesis(made, "203.0.113.7", password, nowMs));
  });

  it("does none of this as SPA1", () => {
    const made = packet();
    const verifier = verifierOf();
    assert.equal(verifier.verify(made, spaSource, vector.nowMs + 59_000).kind, "accepted");
    assert.equal(verifier.verify(made, spaSource, vector.nowMs + 59_100).kind, "refused");
  });
});
