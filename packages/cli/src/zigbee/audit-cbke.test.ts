import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";

import { eui64At } from "@postern/zigbee/eui64";
import { joined } from "@postern/zigbee/security/mmo-hash";
import * as build from "@postern/zigbee/testing";

import { run } from "../main.ts";
import { fakeContext } from "../testing.ts";

const { unhex } = build;
const folder = mkdtempSync(join(tmpdir(), "postern-cbke-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** The test certificates of Smart Energy Annex C.5. */
const initiator = {
  certificate:
    "020615e07d30eca2dad58002e667d94bc1b4223983070000000000000002544553545345434101090006000000000000",
  privateKey: "01e9ddb5580cf72ece7f215f0ae594e48df3e7fee8",
  ephemeralPrivateKeys: ["0013d36de4b1ea8e22739c381370823f404bff8862"],
  authorityKey: "0200fde8a7f3d1084224962a4e7c54e69ac3f04da6b8",
};
const responder =
  "03045fdfc8d85ffb8b3993cb72ddcaa55f00b3e87d6d0000000000000001544553545345434101090006000000000000";
const linkKey = unhex("86d58aaa998e2faefaf9fef49606543a");
const networkKey = unhex("5f1e2d3c4b5a69788796a5b4c3d2e1f0");
const centre = eui64At(Uint8Array.of(1, 0, 0, 0, 0, 0x4b, 0x12, 0), 0);
const device = eui64At(Uint8Array.of(2, 0, 0, 0, 0, 0x8d, 0x15, 0), 0);

function frame(fromServer: boolean, payload: Uint8Array): Uint8Array {
  const [source, destination] = fromServer ? [0, 0x970b] : [0x970b, 0];
  const nwk = build.nwkFrame({ destination, source }, payload);
  return build.macData({ pan: 0x1a62, destination, source, macSequence: 1 }, nwk);
}

function message(fromServer: boolean, command: number, hex: string): Uint8Array {
  const zcl = joined(Uint8Array.of(fromServer ? 0x19 : 0x11, 7, command), unhex(hex));
  return frame(fromServer, build.apsData({ profile: 0x0109, cluster: 0x0800 }, zcl));
}

const capture = build.pcapFile([
  message(false, 0, `01000a0a${initiator.certificate}`),
  message(true, 0, `01000a0a${responder}`),
  message(false, 1, "0300e117c86d0e7cd128b2f34e9076cff24af46d7288"),
  message(true, 1, "0306ab52062201d995b8b8591f3f086a3a2e214d845e"),
  frame(
    true,
    build.apsCommand(build.transportKey(1, networkKey, device, centre), {
      key: linkKey,
      source: centre,
      counter: 1,
      identifier: 2,
    }),
  ),
]);
writeFileSync(join(folder, "a.pcap"), capture);

async function audit(secrets: string): Promise<{ code: number; out: string; err: string }> {
  writeFileSync(join(folder, "secrets.json"), secrets);
  const context = fakeContext({ cwd: folder });
  const code = await run(
    ["zigbee", "audit", "a.pcap", "--cbke", "secrets.json", "--format", "json", "--fail-on", "never"],
    context,
  );
  return { code, out: context.out(), err: context.err() };
}

describe("postern zigbee audit --cbke", () => {
  it("opens what goes out under a key that was established by certificates", async () => {
    const { code, out } = await audit(JSON.stringify([initiator]));
    assert.equal(code, 0);
    const { keys, openedFrames } = JSON.parse(out);
    assert.equal(openedFrames, 1);
    assert.deepEqual(
      keys.map(({ use, origin }: { use: string; origin: string }) => [
        use,
        origin.replace(/under key \w+$/, "under"),
      ]),
      [
        ["network", "frame 5, under"],
        ["link", "frame 4, key establishment"],
      ],
    );
  });

  it("says what is wrong with a file of secrets and quotes none", async () => {
    const short = [{ ...initiator, certificate: "0102" }];
    for (const [text, sentence] of [
      [JSON.stringify(short), /secrets\.json: 0\.certificate: is neither a certificate of 48 bytes/],
      [`${initiator.privateKey} {`, /cannot read secrets\.json: it is not JSON/],
      [JSON.stringify([{ ...initiator, privateKey: "xyz" }]), /0\.privateKey: is not an even number/],
    ] as const) {
      const { code, err } = await audit(text);
      assert.equal(code, 2);
      assert.match(err, sentence);
      assert.ok(!err.includes(initiator.privateKey) && !err.includes("xyz"));
    }
  });
});
