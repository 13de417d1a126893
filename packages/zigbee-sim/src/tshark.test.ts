import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";

import { Dissector } from "@postern/zigbee/dissector";
import { Keyring } from "@postern/zigbee/keyring";

import { recordingFrames, recordingPcap, wiresharkKeys } from "./recording.ts";
import { scenarios } from "./scenarios.ts";
import { Simulation } from "./simulation.ts";
import { type Scenario } from "./scenario.ts";

const hasTshark = spawnSync("tshark", ["--version"]).status === 0;
const folder = mkdtempSync(join(tmpdir(), "postern-sim-tshark-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const fields = [
  "frame.number",
  "wpan.fcs_ok",
  "wpan.seq_no",
  "zbee.sec.key",
  "zbee_sec.encrypted_payload",
  "zbee_nwk.src",
  "zbee_nwk.dst",
  "zbee_nwk.seqno",
  "zbee.sec.counter",
  "zbee_aps.counter",
  "zbee_aps.cluster",
  "_ws.malformed",
] as const;
type Row = Readonly<Record<(typeof fields)[number], string>>;

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
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => {
      const cells = line.split("\t");
      const value = (name: (typeof fields)[number]): string => cells[fields.indexOf(name)] ?? "";
      return {
        "frame.number": value("frame.number"),
        "wpan.fcs_ok": value("wpan.fcs_ok"),
        "wpan.seq_no": value("wpan.seq_no"),
        "zbee.sec.key": value("zbee.sec.key"),
        "zbee_sec.encrypted_payload": value("zbee_sec.encrypted_payload"),
        "zbee_nwk.src": value("zbee_nwk.src"),
        "zbee_nwk.dst": value("zbee_nwk.dst"),
        "zbee_nwk.seqno": value("zbee_nwk.seqno"),
        "zbee.sec.counter": value("zbee.sec.counter"),
        "zbee_aps.counter": value("zbee_aps.counter"),
        "zbee_aps.cluster": value("zbee_aps.cluster"),
        "_ws.malformed": value("_ws.malformed"),
      };
    });
}

function keyringOf(simulation: Simulation): Keyring {
  const keyring = new Keyring();
  for (const { use, bytes } of simulation.keys) {
    if (use !== "master") keyring.add(bytes, use, { kind: "given" });
  }
  return keyring;
}

/** The first of several values that tshark gives for layers inside each other. */
function first(cell: string): number {
  return Number(cell.split(",")[0]);
}

function compare(scenario: Scenario, seed: number): { readonly secured: number; readonly frames: number } {
  const simulation = new Simulation(scenario, seed);
  simulation.run();
  const rows = tsharkRows(simulation);
  const dissector = new Dissector(keyringOf(simulation));
  assert.equal(rows.length, simulation.frames.length);
  let secured = 0;
  for (const [index, frame] of recordingFrames(simulation.frames).entries()) {
    const row = rows[index];
    assert.ok(row !== undefined);
    const { mac, nwk, aps, nwkProtection, apsProtection, tunnelled } = dissector.dissect(frame);
    const where = `frame ${frame.number}`;
    assert.match(row["wpan.fcs_ok"], /^(1|True)$/, where);
    assert.equal(row["_ws.malformed"], "", where);
    assert.equal(row["zbee_sec.encrypted_payload"], "", `${where} is not opened by tshark`);
    assert.ok(nwkProtection !== "unopened" && apsProtection !== "unopened", `${where} is not opened by us`);
    if (mac.frameType !== 0) assert.equal(first(row["wpan.seq_no"]), mac.sequence, where);
    if (nwk === undefined) continue;
    assert.equal(first(row["zbee_nwk.src"]), nwk.sourceShort, where);
    assert.equal(first(row["zbee_nwk.dst"]), nwk.destinationShort, where);
    assert.equal(first(row["zbee_nwk.seqno"]), nwk.sequence, where);
    if (nwk.auxiliary !== undefined) {
      secured++;
      assert.notEqual(row["zbee.sec.key"], "", `${where}: tshark verified no integrity code`);
      assert.equal(first(row["zbee.sec.counter"]), nwk.auxiliary.frameCounter, where);
    }
    if (aps !== undefined && !tunnelled) assert.equal(first(row["zbee_aps.counter"]), aps.counter, where);
    if (aps !== undefined && aps.cluster !== -1 && aps.profile !== 0) {
      assert.equal(first(row["zbee_aps.cluster"]), aps.cluster, where);
    }
  }
  return { secured, frames: simulation.frames.length };
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

    it("opens every frame of a distributed network, whose routers hand out the key", () => {
      const security = { ...mesh.security, model: "distributed", linkKeys: "well-known" } as const;
      assert.ok(compare({ ...mesh, security, seconds: 60 }, 2).secured > 100);
    });

    it("opens every frame of a tree, where keys go through tunnels", () => {
      assert.ok(compare({ ...tree, seconds: 90 }, 3).secured > 100);
    });

    it("opens every frame of a mesh through a change of the network key, with link keys around the messages", () => {
      const security = { ...mesh.security, keyUpdateSeconds: 50 };
      const stack = { ...mesh.stack, apsEncryption: true };
      assert.ok(compare({ ...mesh, security, stack, seconds: 100 }, 5).secured > 200);
    });
  },
);
