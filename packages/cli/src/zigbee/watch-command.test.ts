import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";

import { crc16 } from "@postern/zigbee/crc16";
import { parseEui64 } from "@postern/zigbee/eui64";
import * as build from "@postern/zigbee/testing";

import { run } from "../main.ts";
import { fakeContext } from "../testing.ts";

const folder = mkdtempSync(join(tmpdir(), "postern-watch-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const source = parseEui64("00:15:8d:00:00:00:00:02");
assert.ok(source !== undefined);
const key = build.unhex("5f1e2d3c4b5a69788796a5b4c3d2e1f0");
const to = { pan: 0x1a62, destination: 0, source: 0x970b, macSequence: 1 };
const clear = build.macData(
  to,
  build.nwkFrame({ destination: 0, source: 1 }, build.apsCommand(build.transportKey(1, key, source, source))),
);
const secured = build.macData(
  to,
  build.nwkFrame(
    { destination: 0, source: 0x970b, protection: { key, source, counter: 1 } },
    build.apsData(),
  ),
);

/** What `pattern` finds in a stream's text, as soon as it is there. */
async function heard(pattern: RegExp, stream: NodeJS.EventEmitter, text: () => string): Promise<string> {
  for (;;) {
    const [, found] = pattern.exec(text()) ?? [];
    if (found !== undefined) return found;
    await once(stream, "data");
  }
}

describe("postern zigbee watch", () => {
  it("tells findings of a capture on standard input, a line each", async () => {
    const context = fakeContext({ cwd: folder });
    context.stdin.end(build.pcapFile([secured, clear]));
    const code = await run(["zigbee", "watch"], context);
    assert.deepEqual([code, context.err()], [0, ""]);
    assert.match(context.out(), /^CRITICAL {2}ZB-KEY-CLEAR {2}network 0x1a62: .*\(frames 2\)\n$/);
  });

  it("prints JSON lines, which pub --lines can publish, and none below the severity", async () => {
    const context = fakeContext({ cwd: folder });
    context.stdin.end(build.pcapFile([secured, clear]));
    await run(["zigbee", "watch", "--json", "--severity", "critical"], context);
    assert.match(context.out(), /^\{"id":"ZB-KEY-CLEAR","severity":"critical",.*\}\n$/);
    assert.ok(!context.out().includes(build.hex(key)));
  });

  it("tells what is wrong with its input", async () => {
    const context = fakeContext({ cwd: folder });
    context.stdin.end(new TextEncoder().encode("this is no capture of any kind that could be read"));
    assert.equal(await run(["zigbee", "watch"], context), 2);
    assert.match(context.err(), /^postern: standard input: /);
    const wrong = fakeContext({ cwd: folder });
    assert.equal(await run(["zigbee", "watch", "--every", "0"], wrong), 2);
    assert.match(wrong.err(), /--every is "0"/);
  });

  it("listens for ZEP datagrams", async () => {
    writeFileSync(join(folder, "keys.txt"), build.hex(key));
    const context = fakeContext({ cwd: folder });
    const running = run(["zigbee", "watch", "--zep", "0", "--every", "1", "--key-file", "keys.txt"], context);
    const port = await heard(/127\.0\.0\.1:(\d+)/, context.stderr, () => context.err());
    const socket = createSocket("udp4");
    for (const frame of [secured, clear]) socket.send(zep(frame), Number(port), "127.0.0.1");
    await heard(/(ZB-KEY-CLEAR)/, context.stdout, () => context.out());
    socket.close();
    context.interrupt();
    assert.equal(await running, 130);
  });
});

/** A frame as a sniffer sends it (ZEP version 2). */
function zep(frame: Uint8Array): Uint8Array {
  const crc = crc16(frame, 0, frame.length);
  const head = new Uint8Array(32);
  head.set([0x45, 0x58, 2, 1, 15, 0, 1, 1]);
  head[31] = frame.length + 2;
  return Buffer.concat([head, frame, Uint8Array.of(crc, crc >> 8)]);
}
