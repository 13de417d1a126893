import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { gzipSync } from "node:zlib";

import { parseEui64 } from "@postern/zigbee/eui64";
import * as build from "@postern/zigbee/testing";

import { run } from "../main.ts";
import { fakeContext } from "../testing.ts";

const folder = mkdtempSync(join(tmpdir(), "postern-audit-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const source = parseEui64("00:15:8d:00:00:00:00:02");
assert.ok(source !== undefined);
const key = build.unhex("5f1e2d3c4b5a69788796a5b4c3d2e1f0");
const to = { pan: 0x1a62, destination: 0, source: 0x970b, macSequence: 1 };
const clearKey = build.macData(
  to,
  build.nwkFrame({ destination: 0, source: 1 }, build.apsCommand(build.transportKey(1, key, source, source))),
);
const secured = [1, 2, 3].map((counter) =>
  build.macData(
    { ...to, macSequence: counter },
    build.nwkFrame({ destination: 0, source: 0x970b, protection: { key, source, counter } }, build.apsData()),
  ),
);
const capture = build.pcapFile([...secured, clearKey]);

function file(name: string, bytes: Uint8Array): string {
  writeFileSync(join(folder, name), bytes);
  return name;
}

async function audit(args: readonly string[], input?: Uint8Array) {
  const context = fakeContext({ cwd: folder });
  if (input !== undefined) context.stdin.end(input);
  const code = await run(["zigbee", "audit", ...args], context);
  return { code, out: context.out(), err: context.err() };
}

describe("postern zigbee audit", () => {
  it("prints findings with place, evidence and mend, and ends with 1", async () => {
    const { code, out, err } = await audit([file("a.pcap", capture)]);
    assert.match(out, /CRITICAL {2}ZB-KEY-CLEAR[^]*frames {6}4\n[^]*evidence[^]*mend/);
    assert.match(out, /Protected frames opened: 3 of 3/);
    assert.deepEqual([code, err], [1, ""]);
    assert.ok(!out.includes(build.hex(key)));
  });

  it("shows control characters in the name of a file, and says where an inventory is wrong", async () => {
    const { out } = await audit([file("a\u001b[31m.pcap", capture)]);
    assert.match(out, /^a\\x1b\[31m\.pcap: 4 frames/);
    writeFileSync(join(folder, "inventory.json"), '{ "device": [] }');
    const { err } = await audit(["a.pcap", "--inventory", "inventory.json"]);
    assert.match(err, /^postern: inventory\.json: Unrecognized key: "device"\n$/);
  });

  it("reads keys as Wireshark keeps them, and as many as a building needs", async () => {
    const frames = file("keys.pcap", build.pcapFile(secured));
    const reversed = build.hex(key.toReversed()).replaceAll(/(..)(?!$)/g, "$1:");
    writeFileSync(join(folder, "zigbee_pc_keys"), `"${reversed}","Reverse","home"\n`);
    assert.match((await audit([frames, "--key-file", "zigbee_pc_keys"])).out, /opened: 3 of 3/);
    const many = Array.from({ length: 300 }, (_, index) => (index + 1).toString(16).padStart(32, "0"));
    writeFileSync(join(folder, "many.txt"), `${many.join("\n")}\n${build.hex(key)}\n`);
    assert.match((await audit([frames, "--key-file", "many.txt"])).out, /opened: 3 of 3/);
    const tooMany = Array.from({ length: 5_000 }, (_, index) => (index + 1).toString(16).padStart(32, "0"));
    writeFileSync(join(folder, "many.txt"), tooMany.join("\n"));
    const refused = await audit([frames, "--key-file", "many.txt"]);
    assert.deepEqual([refused.code, refused.out], [2, ""]);
    assert.match(refused.err, /^postern: more than 4095 keys/);
  });

  it("ends with 0 when no finding is as severe as --fail-on", async () => {
    const frames = build.pcapFile(secured);
    const given = ["--key", build.hex(key)];
    assert.equal((await audit([file("b.pcap", frames), ...given])).code, 0);
    assert.equal((await audit([file("a.pcap", capture), "--fail-on", "never"])).code, 0);
  });

  it("reads compressed files, and standard input, which leaves no file behind", async () => {
    const compressed = gzipSync(capture);
    const direct = await audit([file("a.pcap", capture), "--format", "json"]);
    const unzipped = await audit([file("a.pcap.gz", compressed), "--format", "json"]);
    const before = spooled();
    const piped = await audit(["-", "--format", "json"], compressed);
    assert.equal(unzipped.out.replace("a.pcap.gz", "a.pcap"), direct.out);
    assert.equal(piped.out.replace("standard input", "a.pcap"), direct.out);
    assert.deepEqual(spooled(), before);
  });

  it("takes keys and install codes from a file, and never quotes a wrong one", async () => {
    const keys = file(
      "keys.txt",
      Buffer.from(`# ours\n${build.hex(key)}\n00158d0000000002=83FED3407A939723A5C639B26916D505C3B5\n`),
    );
    assert.match(
      (await audit([file("b.pcap", build.pcapFile(secured)), "--key-file", keys])).out,
      /opened: 3 of 3/,
    );
    const wrong = await audit([
      "b.pcap",
      "--key-file",
      file("wrong.txt", Buffer.from("\n83FED3407A939723A5C639B26916D505C3B6\n")),
    ]);
    assert.equal(wrong.code, 2);
    assert.match(wrong.err, /wrong\.txt:2 is not an install code/);
    assert.ok(!wrong.err.includes("83FED"));
    assert.equal((await audit(["b.pcap", "--key", "abc"])).code, 2);
  });

  const broken: readonly [name: string, bytes: Uint8Array, message: RegExp, frames: number][] = [
    ["empty.pcap", new Uint8Array(0), /empty\.pcap: the capture is empty/, 0],
    ["picture.pcap", Buffer.from("GIF89a and more"), /neither pcap, pcapng nor a Daintree capture/, 0],
    [
      "wifi.pcap",
      Buffer.concat([capture.slice(0, 20), build.unhex("69000000")]),
      /link type 105 is not one of/,
      0,
    ],
    [
      "cut.pcap",
      capture.slice(0, -9),
      /ends within record 4, at byte \d+ \(the report is of the 3 frames before\)/,
      3,
    ],
    ["cut.pcap.gz", gzipSync(capture).subarray(0, -12), /the compressed file is cut off or damaged/, -1],
  ];
  for (const [name, bytes, message, frames] of broken) {
    it(`says what is wrong with ${name}, keeps what could be read and ends with 2`, async () => {
      const { code, out, err } = await audit([file(name, bytes), "--format", "json"]);
      assert.equal(code, 2);
      assert.match(err, message);
      const report: unknown = JSON.parse(out);
      assert.ok(typeof report === "object" && report !== null && "complete" in report && "frames" in report);
      assert.equal(report.complete, false);
      if (frames >= 0) assert.equal(report.frames, frames);
    });
  }

  it("refuses what cannot be: a missing file, unknown values of options", async () => {
    for (const args of [
      ["missing.pcap"],
      ["a.pcap", "--format", "xml"],
      ["a.pcap", "--level", "8"],
      ["a.pcap", "--fail-on", "bad"],
      ["a.pcap", "--fcs", "x"],
    ]) {
      const { code, err } = await audit(args);
      assert.equal(code, 2, args.join(" "));
      assert.match(err, /^postern: /);
    }
  });

  it("writes SARIF with a rule, a level and a place for every finding", async () => {
    const { out, code } = await audit([file("a.pcap", capture), "--format", "sarif"]);
    const log = JSON.parse(out);
    const [{ results, tool }] = log.runs;
    assert.deepEqual([code, log.version, results.length], [1, "2.1.0", 1]);
    assert.equal(tool.driver.rules[results[0].ruleIndex].id, "ZB-KEY-CLEAR");
    assert.deepEqual(
      [results[0].level, results[0].locations[0].physicalLocation.region.startLine],
      ["error", 4],
    );
    assert.ok(!out.includes(build.hex(key)));
  });

  it("writes one HTML page that loads nothing, shows no key and escapes the name of the file", async () => {
    const join = build.macData(to, build.nwkFrame({ destination: 0, source: 1 }, build.apsData()));
    const name = file(`<img src=x>'&.pcap`, build.pcapFile([...secured, clearKey, join]));
    const { out, code } = await audit([name, "--format", "html"]);
    assert.equal(code, 1);
    assert.ok(!out.includes("<img") && !out.includes(build.hex(key)) && !/<script|https?:/.test(out));
    assert.match(out, /&lt;img src=x&gt;&#39;&amp;\.pcap/);
    assert.match(out, /<article class="critical">[^]*ZB-KEY-CLEAR[^]*<svg [^]*class="holder"[^]*<\/svg>/);
  });

  it("ends with 0 when every finding stands in the baseline, and refuses what is no report", async () => {
    const before = await audit([file("a.pcap", capture), "--format", "json"]);
    const baseline = file("before.json", Buffer.from(before.out));
    const { code, out } = await audit(["a.pcap", "--baseline", baseline]);
    assert.equal(code, 0);
    assert.match(out, /ZB-KEY-CLEAR.*\(known\)/);
    const other = file("other.json", Buffer.from('{"findings":[{"id":"ZB-REPLAY","subject":"x"}]}'));
    assert.equal((await audit(["a.pcap", "--baseline", other])).code, 1);
    for (const text of ["no JSON", "[]", '{"findings":[1]}']) {
      const wrong = await audit(["a.pcap", "--baseline", file("wrong.json", Buffer.from(text))]);
      assert.equal(wrong.code, 2);
      assert.match(wrong.err, /is not a report/);
    }
  });

  it("finds devices and keys that the inventory does not name, in its own networks only", async () => {
    const given = ["b.pcap", "--key", build.hex(key), "--format", "json"];
    file("b.pcap", build.pcapFile(secured));
    const withInventory = async (inventory: unknown) => {
      const path = file("inventory.json", Buffer.from(JSON.stringify(inventory)));
      const { out, code, err } = await audit([...given, "--inventory", path]);
      const ids: string[] = code === 2 ? [] : JSON.parse(out).findings.map(({ id }: { id: string }) => id);
      return { ids, code, err };
    };
    const address = "00158d0000000002";
    assert.deepEqual((await withInventory({ devices: [{ address, name: "lamp" }] })).ids, []);
    assert.deepEqual((await withInventory({ devices: [] })).ids, ["ZB-UNKNOWN-DEVICE"]);
    assert.deepEqual((await withInventory({ devices: [], networks: [{ pan: "0x1a63" }] })).ids, []);
    assert.deepEqual((await withInventory({ networkKeys: ["00000000"] })).ids, ["ZB-UNEXPECTED-KEY"]);
    for (const wrong of [{ device: [] }, { devices: [{ address: "12" }] }, { networkKeys: ["secret"] }, []]) {
      const { code, err } = await withInventory(wrong);
      assert.equal(code, 2);
      assert.match(err, /^postern: inventory\.json: /);
    }
  });

  it("says that a key is wrong and ends with 2, with the report of what could be read", async () => {
    const wrong = "00112233445566778899aabbccddeeff";
    const { code, out, err } = await audit([file("b.pcap", build.pcapFile(secured)), "--key", wrong]);
    assert.equal(code, 2);
    assert.match(err, /^postern: b\.pcap: none of the keys that were given opens a frame/);
    assert.match(out, /Protected frames opened: 0 of 3/);
    assert.ok(!`${out}${err}`.includes(wrong));
    const withRight = ["--key", wrong, "--key", build.hex(key)];
    assert.deepEqual((await audit(["b.pcap", ...withRight])).code, 0, "one of them is right");
    const nothingClosed = build.pcapFile([build.beacon(0x1a62, source)]);
    assert.equal((await audit([file("n.pcap", nothingClosed), "--key", wrong])).code, 0, "nothing to open");
  });

  it("recognizes a capture of a TI radio by itself", async () => {
    const ti = build.pcapFile([...secured, clearKey]);
    let offset = 24;
    for (const frame of [...secured, clearKey]) {
      offset += 16 + frame.length + 2;
      ti.set([0x10, 0xeb], offset - 2);
    }
    assert.match((await audit([file("ti.pcap", ti)])).out, /ZB-KEY-CLEAR/);
  });
});

function spooled(): string[] {
  return readdirSync(tmpdir()).filter((name) => name.startsWith("postern-capture-"));
}
