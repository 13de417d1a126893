import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Dissector } from "../dissector.ts";
import { Harvester } from "../harvest.ts";
import { Keyring } from "../keyring.ts";
import { joined } from "../security/mmo-hash.ts";
import * as build from "../testing.ts";
import vectors from "../vectors/cbke.json" with { type: "json" };
import { cbkeKeys, cbkeSuite1, cbkeSuite2 } from "./cbke.ts";
import { type CbkeSecrets } from "./cbke-harvester.ts";

const { unhex, hex } = build;
const suites = [
  { suite: cbkeSuite1, ...vectors.suite1 },
  { suite: cbkeSuite2, ...vectors.suite2 },
] as const;
type Vector = (typeof suites)[number];

/** A message of the cluster from the client (0x970b) to the server (0), or back. */
function message(fromServer: boolean, command: number, payload: Uint8Array): Uint8Array {
  const zcl = joined(Uint8Array.of(fromServer ? 0x19 : 0x11, 7, command), payload);
  const [source, destination] = fromServer ? [0, 0x970b] : [0x970b, 0];
  const aps = build.apsData({ profile: 0x0109, cluster: 0x0800 }, zcl);
  return build.macData(
    { pan: 0x1a62, destination, source, macSequence: command },
    build.nwkFrame({ destination, source }, aps),
  );
}

/** The four messages in which certificates and ephemeral keys go over the air. */
function exchange({ suite, initiator, responder }: Vector): Uint8Array[] {
  const begin = Uint8Array.of(suite.id, 0, 10, 10);
  return [
    message(false, 0, joined(begin, unhex(initiator.certificate))),
    message(true, 0, joined(begin, unhex(responder.certificate))),
    message(false, 1, unhex(initiator.ephemeralKey)),
    message(true, 1, unhex(responder.ephemeralKey)),
  ];
}

function secretsOf(vector: Vector, side: "initiator" | "responder"): CbkeSecrets {
  const { certificate, privateKey, ephemeralPrivateKey } = vector[side];
  return {
    certificate: unhex(certificate),
    privateKey: unhex(privateKey),
    ephemeralPrivateKeys: [unhex("01"), unhex(ephemeralPrivateKey)],
    authorityKey: unhex(vector.authorityKey),
  };
}

function harvested(frames: readonly Uint8Array[], secrets: readonly CbkeSecrets[]): string[] {
  const keyring = new Keyring();
  const dissector = new Dissector(keyring);
  const harvester = new Harvester(keyring, secrets);
  for (const frame of build.captured(frames)) harvester.take(dissector.dissect(frame));
  return keyring.keys("link").map((key) => hex(key.reveal()));
}

describe("a link key that is established by certificates in a capture (Smart Energy Annex C)", () => {
  for (const vector of suites) {
    it(`is derived with the secrets of either side, on ${vector.suite.curve.name}`, () => {
      const linkKey = hex(cbkeKeys(unhex(vector.secret)).linkKey);
      for (const side of ["initiator", "responder"] as const) {
        assert.deepEqual(harvested(exchange(vector), [secretsOf(vector, side)]), [linkKey]);
      }
    });
  }

  it("stays unknown without the ephemeral key, without a message, or with another authority", () => {
    const [vector] = suites;
    const secrets = secretsOf(vector, "initiator");
    assert.deepEqual(harvested(exchange(vector), [{ ...secrets, ephemeralPrivateKeys: [unhex("01")] }]), []);
    assert.deepEqual(harvested(exchange(vector), [{ ...secrets, authorityKey: unhex("02") }]), []);
    assert.deepEqual(harvested(exchange(vector).slice(1), [secrets]), []);
    assert.deepEqual(harvested(exchange(vector).slice(0, 3), [secrets]), []);
    assert.deepEqual(harvested(exchange(vector), []), []);
  });

  it("survives messages of the cluster that are cut off or say nothing", () => {
    const [vector] = suites;
    const cut = exchange(vector).flatMap((frame) => [frame.subarray(0, 30), frame.subarray(0, -5)]);
    assert.deepEqual(
      harvested([...cut, message(false, 9, unhex("00"))], [secretsOf(vector, "initiator")]),
      [],
    );
  });
});
