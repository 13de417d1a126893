import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";

import { ApsFrameType } from "@postern/zigbee/aps/aps-frame";
import { type Dissection } from "@postern/zigbee/dissection";
import { Dissector } from "@postern/zigbee/dissector";
import { smartEnergyProfile } from "@postern/zigbee/key-establishment/encode-key-establishment";
import { Keyring } from "@postern/zigbee/keyring";
import { decodeBeacon } from "@postern/zigbee/mac/beacon";
import { MacFrameType } from "@postern/zigbee/mac/mac-frame";
import { NwkFrameType } from "@postern/zigbee/nwk/nwk-frame";
import { decodeZclFrame } from "@postern/zigbee/zcl/zcl-frame";

import { recordingFrames, recordingPcap, wiresharkKeys } from "./recording.ts";
import { scenarios } from "./scenarios.ts";
import { Simulation } from "./simulation.ts";
import { type Scenario } from "./scenario.ts";

const hasTshark = spawnSync("tshark", ["--version"]).status === 0;
const folder = mkdtempSync(join(tmpdir(), "postern-sim-tshark-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** What tshark says of a frame as a whole, whatever its layers are. */
const wholeFields = [
  "wpan.fcs_ok",
  "zbee_sec.encrypted_payload",
  "_ws.malformed",
  "zbee.sec.key",
  "wpan-tap.rss",
  "wpan-tap.ch_num",
] as const;
const decodedFields = [
  "wpan.frame_type",
  "wpan.seq_no",
  "wpan.pending",
  "wpan.ack_request",
  "wpan.dst_pan",
  "wpan.dst16",
  "wpan.dst64",
  "wpan.src16",
  "wpan.src64",
  "wpan.cmd",
  "zbee_nwk.frame_type",
  "zbee_nwk.security",
  "zbee_nwk.dst",
  "zbee_nwk.src",
  "zbee_nwk.radius",
  "zbee_nwk.seqno",
  "zbee_nwk.src64",
  "zbee_nwk.cmd.id",
  "zbee.sec.key_id",
  "zbee.sec.counter",
  "zbee.sec.src64",
  "zbee.sec.key_seqno",
  "zbee.sec.mic",
  "zbee_aps.type",
  "zbee_aps.delivery",
  "zbee_aps.security",
  "zbee_aps.ack_req",
  "zbee_aps.dst",
  "zbee_aps.cluster",
  "zbee_aps.zdp_cluster",
  "zbee_aps.profile",
  "zbee_aps.src",
  "zbee_aps.counter",
  "zbee_aps.cmd.id",
  "zbee_zcl.cmd.tsn",
  "zbee_beacon.ext_panid",
  "zbee_beacon.depth",
] as const;
/** Of these tshark shows more than the frame has: addresses that it has learnt, and the code of the frame inside. */
const openEnded: ReadonlySet<string> = new Set([
  "wpan.src64",
  "wpan.dst64",
  "zbee_nwk.src64",
  "zbee.sec.src64",
  "zbee.sec.mic",
]);
const fields = [...wholeFields, ...decodedFields];
type Field = (typeof fields)[number];
type Row = ReadonlyMap<Field, string>;

/** What tshark, which is not ours, reads of a run with the keys of its network and no others. */
function tsharkRows(simulation: Simulation): Row[] {
  writeFileSync(join(folder, "run.pcap"), recordingPcap(simulation.frames));
  writeFileSync(join(folder, "zigbee_pc_keys"), wiresharkKeys(simulation));
  const { stdout, status, stderr } = spawnSync(
    "tshark",
    ["-r", join(folder, "run.pcap"), "-T", "fields", ...fields.flatMap((field) => ["-e", field])],
    { env: { ...process.env, WIRESHARK_CONFIG_DIR: folder }, encoding: "utf8", maxBuffer: 64 * 2 ** 20 },
  );
  assert.equal(status, 0, stderr);
  // A line of a frame that has none of the last fields ends with tabs.
  const lines = stdout.split("\n").slice(0, -1);
  return lines.map((line) => {
    const cells = line.split("\t");
    return new Map(fields.map((field, index) => [field, cells[index] ?? ""]));
  });
}

function keyringOf(simulation: Simulation): Keyring {
  const keyring = new Keyring();
  for (const { use, bytes } of simulation.keys) {
    if (use !== "master") keyring.add(bytes, use, { kind: "given" });
  }
  return keyring;
}

/** As tshark writes it: numbers as they are, without the base that it chooses, booleans as 0 and 1. */
function plain(cell: string): string {
  if (cell === "True") return "1";
  if (cell === "False") return "0";
  return /^(0x[0-9a-f]+|\d+)$/i.test(cell) ? String(Number(cell)) : cell;
}

/** What we read, field by field; a field that is not here is not in the frame. */
function ours(dissection: Dissection, mic: string | undefined): Map<Field, readonly string[]> {
  const { mac, nwk, aps, apsCommand } = dissection;
  const said = new Map<Field, string[]>();
  const say = (field: Field, value: number | boolean | string | undefined): void => {
    if (value === undefined || value === -1) return;
    said.set(field, [...(said.get(field) ?? []), typeof value === "string" ? value : String(Number(value))]);
  };
  say("wpan.frame_type", mac.frameType);
  say("wpan.seq_no", mac.sequence);
  say("wpan.pending", mac.framePending);
  say("wpan.ack_request", mac.acknowledgmentRequest);
  say("wpan.dst_pan", mac.destinationPan);
  say("wpan.dst16", mac.destinationShort);
  say("wpan.dst64", mac.destination);
  say("wpan.src16", mac.sourceShort);
  say("wpan.src64", mac.source);
  if (mac.frameType === MacFrameType.command) {
    say("wpan.cmd", dissection.macPayload[dissection.macPayloadStart]);
  }
  if (mac.frameType === MacFrameType.beacon) {
    const { zigbee } = decodeBeacon(dissection.frame.bytes, mac.payloadStart, mac.payloadEnd);
    say("zbee_beacon.ext_panid", zigbee?.extendedPan);
    say("zbee_beacon.depth", zigbee?.deviceDepth);
  }
  if (nwk === undefined) return said;
  say("zbee_nwk.frame_type", nwk.frameType);
  say("zbee_nwk.security", nwk.security);
  say("zbee_nwk.dst", nwk.destinationShort);
  say("zbee_nwk.src", nwk.sourceShort);
  say("zbee_nwk.radius", nwk.radius);
  say("zbee_nwk.seqno", nwk.sequence);
  say("zbee_nwk.src64", nwk.source);
  if (nwk.frameType === NwkFrameType.command) {
    say("zbee_nwk.cmd.id", dissection.nwkPayload?.[dissection.nwkPayloadStart]);
  }
  for (const auxiliary of [nwk.auxiliary, aps?.auxiliary]) {
    if (auxiliary === undefined) continue;
    say("zbee.sec.key_id", auxiliary.keyIdentifier);
    say("zbee.sec.counter", auxiliary.frameCounter);
    say("zbee.sec.src64", auxiliary.source);
    say("zbee.sec.key_seqno", auxiliary.keySequence);
  }
  say("zbee.sec.mic", mic);
  if (aps === undefined) return said;
  say("zbee_aps.type", aps.frameType);
  say("zbee_aps.delivery", aps.delivery);
  say("zbee_aps.security", aps.security);
  say("zbee_aps.ack_req", (aps.frameControl & 0x40) !== 0);
  say("zbee_aps.dst", aps.destinationEndpoint);
  say(aps.profile === 0 ? "zbee_aps.zdp_cluster" : "zbee_aps.cluster", aps.cluster);
  say("zbee_aps.profile", aps.profile);
  say("zbee_aps.src", aps.sourceEndpoint);
  say("zbee_aps.counter", aps.counter);
  say("zbee_aps.cmd.id", apsCommand?.id);
  const hasZcl = aps.profile === 0x0104 || aps.profile === smartEnergyProfile;
  if (aps.frameType === ApsFrameType.data && hasZcl && dissection.apsPayload !== undefined) {
    const { apsPayload, apsPayloadStart, apsPayloadEnd } = dissection;
    say("zbee_zcl.cmd.tsn", decodeZclFrame(apsPayload, apsPayloadStart, apsPayloadEnd).sequence);
  }
  return said;
}

/** The integrity code of a NWK frame at level 5. */
function integrityCode({ nwk, macPayload }: Dissection): string | undefined {
  if (nwk?.security !== true) return undefined;
  return Buffer.from(macPayload.subarray(nwk.payloadEnd - 4, nwk.payloadEnd)).toString("hex");
}

function compare(scenario: Scenario, seed: number): { readonly secured: number; readonly compared: number } {
  const simulation = new Simulation(scenario, seed);
  simulation.run();
  const rows = tsharkRows(simulation);
  const dissector = new Dissector(keyringOf(simulation));
  assert.equal(rows.length, simulation.frames.length);
  let [secured, compared] = [0, 0];
  for (const [index, frame] of recordingFrames(simulation.frames).entries()) {
    const row = rows[index];
    assert.ok(row !== undefined);
    const dissection = dissector.dissect(frame);
    const where = `frame ${frame.number}`;
    // Of some damaged frames tshark says nothing at all.
    assert.equal(plain(row.get("wpan.fcs_ok") ?? "") === "1", frame.frameCheck === "good", where);
    assert.equal(Number(row.get("wpan-tap.rss") ?? ""), frame.rssi ?? 0, where);
    assert.equal(Number(row.get("wpan-tap.ch_num") ?? ""), frame.channel ?? 0, where);
    if (frame.frameCheck === "bad") continue;
    assert.equal(row.get("_ws.malformed"), "", where);
    assert.equal(row.get("zbee_sec.encrypted_payload"), "", `${where} is not opened by tshark`);
    const { nwk, nwkProtection, apsProtection, tunnelled } = dissection;
    assert.ok(nwkProtection !== "unopened" && apsProtection !== "unopened", `${where} is not opened by us`);
    if (nwk?.auxiliary !== undefined) {
      secured++;
      assert.notEqual(row.get("zbee.sec.key"), "", `${where}: tshark verified no integrity code`);
    }
    const said = ours(dissection, integrityCode(dissection));
    for (const field of decodedFields) {
      // Of a tunnel tshark shows both frames, we the one inside.
      if (tunnelled && (field.startsWith("zbee_aps") || field.startsWith("zbee.sec"))) continue;
      const own = said.get(field) ?? [];
      const cells: string[] = (row.get(field) ?? "")
        .split(",")
        .filter((cell) => cell !== "")
        .map((cell) => (field === "zbee.sec.mic" ? cell : plain(cell)));
      assert.deepEqual(openEnded.has(field) ? cells.slice(0, own.length) : cells, own, `${where}: ${field}`);
      compared++;
    }
  }
  return { secured, compared };
}

describe(
  "tshark on simulated captures",
  { skip: hasTshark ? false : "tshark is not installed: nothing but ourselves has read our frames" },
  () => {
    const star = scenarios["star"];
    const tree = scenarios["tree"];
    const mesh = scenarios["mesh"];
    assert.ok(star !== undefined && tree !== undefined && mesh !== undefined);

    it("opens every frame of a residential star with the keys of the network, and reads the same fields", () => {
      const security = { ...star.security, mode: "residential", linkKeys: "well-known" } as const;
      assert.ok(compare({ ...star, security, seconds: 90 }, 1).secured > 100);
    });

    it("opens every frame that a sniffer at a place heard whole, and reads how strong it was", () => {
      const sniffer = { x: 0, y: 0 };
      assert.ok(compare({ ...star, sniffer, seconds: 90 }, 1).secured > 50);
    });

    it("opens every frame of a distributed network, whose routers hand out the key", () => {
      const security = { ...mesh.security, model: "distributed", linkKeys: "well-known" } as const;
      assert.ok(compare({ ...mesh, security, seconds: 60 }, 2).secured > 100);
    });

    it("opens every frame of a tree, where keys go through tunnels", () => {
      assert.ok(compare({ ...tree, seconds: 90 }, 3).secured > 100);
    });

    it("opens every frame of a tree whose link keys come of master keys, through routers", () => {
      const security = {
        ...tree.security,
        linkKeys: "none",
        masterKeys: true,
        issuesLinkKeys: false,
      } as const;
      assert.ok(compare({ ...tree, security, seconds: 90 }, 3).secured > 100);
    });

    it("opens every frame of a star whose devices establish link keys by certificates", () => {
      const security = { ...star.security, certificates: true };
      const stack = { ...star.stack, apsEncryption: true };
      assert.ok(compare({ ...star, security, stack, seconds: 90 }, 2).secured > 100);
    });

    it("opens every frame of a mesh through a change of the network key, with link keys around the messages", () => {
      const security = { ...mesh.security, keyUpdateSeconds: 50 };
      const stack = { ...mesh.stack, apsEncryption: true };
      assert.ok(compare({ ...mesh, security, stack, seconds: 100 }, 5).secured > 200);
    });
  },
);
