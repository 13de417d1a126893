import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createWriteStream, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";

import { parseEui64 } from "@postern/zigbee/eui64";
import * as build from "@postern/zigbee/testing";

import { run } from "../main.ts";
import { fakeContext } from "../testing.ts";

const folder = mkdtempSync(join(tmpdir(), "postern-capture-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const address = parseEui64("00:15:8d:00:00:00:00:02");
assert.ok(address !== undefined);
const clear = build.macData(
  { pan: 0x1a62, destination: 0, source: 0x970b, macSequence: 1 },
  build.nwkFrame(
    { destination: 0, source: 1 },
    build.apsCommand(
      build.transportKey(1, build.unhex("5f1e2d3c4b5a69788796a5b4c3d2e1f0"), address, address),
    ),
  ),
);
const capture = build.pcapFile([clear, clear]);

describe("a capture for postern zigbee audit", () => {
  it("may come through a named pipe", async () => {
    execFileSync("mkfifo", [join(folder, "pipe")]);
    const context = fakeContext({ cwd: folder });
    const running = run(["zigbee", "audit", "pipe"], context);
    createWriteStream(join(folder, "pipe")).end(capture);
    assert.equal(await running, 1);
    assert.match(context.out(), /^pipe: 2 frames[^]*ZB-KEY-CLEAR/);
  });

  it("is audited as far as it came when its recording is interrupted", async () => {
    const context = fakeContext({ cwd: folder });
    const running = run(["zigbee", "audit", "-"], context);
    context.stdin.write(capture);
    context.interrupt();
    assert.equal(await running, 1);
    assert.match(context.out(), /^standard input: 2 frames[^]*ZB-KEY-CLEAR/);
    assert.match(context.err(), /^postern: recording ended/);
  });

  it("that nothing has come of when it is interrupted is no capture", async () => {
    const context = fakeContext({ cwd: folder });
    const running = run(["zigbee", "audit", "-"], context);
    context.interrupt();
    assert.equal(await running, 130);
    assert.equal(context.out(), "");
  });

  it("is no directory, and has frames", async () => {
    const wrong = fakeContext({ cwd: folder });
    assert.equal(await run(["zigbee", "audit", "."], wrong), 2);
    assert.match(wrong.err(), /^postern: cannot read \.: it is a directory\n$/);
    const empty = fakeContext({ cwd: folder });
    empty.stdin.end(build.pcapFile([]));
    assert.equal(await run(["zigbee", "audit", "-"], empty), 2);
    assert.match(empty.err(), /the capture has no frames/);
  });
});
