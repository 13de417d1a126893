import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";

import { parseEui64 } from "@postern/zigbee/eui64";
import * as build from "@postern/zigbee/testing";

import { run } from "../main.ts";
import { fakeContext } from "../testing.ts";

const folder = mkdtempSync(join(tmpdir(), "postern-keyhunt-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const source = parseEui64("00:15:8d:00:00:00:00:02");
assert.ok(source !== undefined);
const key = build.unhex("5f1e2d3c4b5a69788796a5b4c3d2e1f0");
const to = { pan: 0x1a62, destination: 0, source: 0x970b, macSequence: 1 };
const frames = [1, 2, 3].map((counter) =>
  build.macData(
    { ...to, macSequence: counter },
    build.nwkFrame({ destination: 0, source: 0x970b, protection: { key, source, counter } }, build.apsData()),
  ),
);

function file(name: string, bytes: Uint8Array): string {
  writeFileSync(join(folder, name), bytes);
  return name;
}

async function postern(...args: readonly string[]) {
  const context = fakeContext({ cwd: folder });
  const code = await run(["zigbee", ...args], context);
  return { code, out: context.out(), err: context.err() };
}

const capture = file("a.pcap", build.pcapFile(frames));
const dump = new Uint8Array(5_000).map((_, index) => index * 31);
dump.set(key, 1_234);
const firmware = file("flash.bin", dump);

describe("postern zigbee keyhunt", () => {
  it("finds the network key in a dump, and shows it only when asked", async () => {
    const { code, out, err } = await postern("keyhunt", capture, "--firmware", firmware);
    assert.deepEqual([code, err], [0, ""]);
    assert.match(
      out,
      /^0x000004d2 {2}network key [0-9a-f]{8}, as used: opens 3 of 3 frames tried \(\d, \d, \d\)\n$/,
    );
    assert.ok(!out.includes(build.hex(key)));
    const shown = await postern("keyhunt", capture, "--firmware", firmware, "--show-keys", "--json");
    assert.match(shown.out, new RegExp(`"key": "${build.hex(key)}"`));
  });

  it("finds a link key under a network key that is given", async () => {
    const linkKey = build.unhex("9a8b7c6d5e4f30211203948576675849");
    const requestKey = build.apsCommand(Uint8Array.of(8, 4), {
      key: linkKey,
      source,
      counter: 9,
      identifier: 0,
    });
    const protection = { key, source, counter: 4 };
    const frame = build.macData(
      to,
      build.nwkFrame({ destination: 0, source: 0x970b, protection }, requestKey),
    );
    const under = file("under.pcap", build.pcapFile([frame]));
    writeFileSync(join(folder, "network.txt"), build.hex(key));
    const other = dump.slice(2_000);
    other.set(linkKey, 100);
    const args = ["keyhunt", under, "--firmware", file("link.bin", other)];
    assert.equal((await postern(...args)).code, 1);
    const { code, out } = await postern(...args, "--key-file", "network.txt");
    assert.equal(code, 0);
    assert.match(out, /^0x00000064 {2}link key [0-9a-f]{8}, as used: opens 1 of 1 frames tried/);
  });

  it("ends with 1 when the key is not there", async () => {
    const { code, out } = await postern(
      "keyhunt",
      capture,
      "--firmware",
      file("other.bin", dump.subarray(2_000)),
    );
    assert.deepEqual([code, out], [1, "No key of the capture is in the dump.\n"]);
  });

  it("refuses a dump that is none, a level that proves nothing, and a capture without protected frames", async () => {
    assert.match(
      (await postern("keyhunt", capture, "--firmware", "nowhere")).err,
      /cannot read the dump nowhere/,
    );
    const short = await postern("keyhunt", capture, "--firmware", file("short.bin", key.subarray(1)));
    assert.match(short.err, /has 15 bytes, less than a key/);
    const level = await postern("keyhunt", capture, "--firmware", firmware, "--level", "4");
    assert.match(level.err, /--level is 4/);
    const plain = file("plain.pcap", build.pcapFile([build.beacon(0x1a62, source)]));
    const none = await postern("keyhunt", plain, "--firmware", firmware);
    assert.equal(none.code, 2);
    assert.match(none.err, /no protected frame that a key is missing for/);
  });
});

describe("postern zigbee checklist", () => {
  it("says what is met, what is not, and what is not known, with evidence", async () => {
    const clear = build.macData(
      to,
      build.nwkFrame(
        { destination: 0, source: 1 },
        build.apsCommand(build.transportKey(1, key, source, source)),
      ),
    );
    const joined = file("join.pcap", build.pcapFile([...frames, clear]));
    const { code, out } = await postern("checklist", joined);
    assert.equal(code, 1);
    assert.match(
      out,
      /^met +Frames are encrypted[^]*\nnot met +Keys are never sent in clear[^]*ZB-KEY-CLEAR at/,
    );
    assert.match(out, /not known +Only devices of a list take part[^]*give an inventory/);
  });

  it("prints JSON, and ends with 0 when nothing speaks against a practice", async () => {
    const { code, out } = await postern("checklist", capture, "--json");
    assert.equal(code, 0);
    assert.match(out, /"id": "frame-protection",[^]*"verdict": "not known"/);
  });
});
