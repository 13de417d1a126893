import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { joined } from "../security/mmo-hash.ts";
import { hex, pcapFile, unhex } from "../testing.ts";
import { CaptureReader } from "./capture-reader.ts";
import { type CapturedFrame } from "./captured-frame.ts";
import { pcapHeader, pcapRecord } from "./pcap-writer.ts";
import { pcapngHeader, pcapngKey, pcapngRecord } from "./pcapng-writer.ts";

const frames = [unhex("020042"), unhex("030801ffffffff07"), unhex("63880304621a00000b9704")];

function readAll(chunks: readonly Uint8Array[], frameCheck: "crc" | "ti" | "none" = "crc") {
  const found: CapturedFrame[] = [];
  const keys: string[] = [];
  const reader = new CaptureReader(
    {
      onFrame: (frame) => void found.push({ ...frame, bytes: frame.bytes.slice() }),
      onKey: (key, use) => void keys.push(`${use} ${hex(key)}`),
    },
    frameCheck,
  );
  for (const chunk of chunks) reader.push(chunk);
  reader.end();
  return { found, keys, problem: reader.problem, unreadable: reader.unreadableRecords };
}

function u32(value: number): Uint8Array {
  return Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24);
}

function pcapngBlock(type: number, body: Uint8Array): Uint8Array {
  const padded = joined(body, new Uint8Array((4 - (body.length % 4)) % 4));
  const length = u32(12 + padded.length);
  return joined(u32(type), length, padded, length);
}

function pcapng(...blocks: readonly Uint8Array[]): Uint8Array {
  const section = pcapngBlock(0x0a0d0d0a, unhex("4d3c2b1a 0100 0000 ffffffffffffffff"));
  return joined(section, pcapngBlock(1, unhex("e600 0000 00000000")), ...blocks);
}

function packet(bytes: Uint8Array): Uint8Array {
  return pcapngBlock(6, joined(u32(0), u32(0), u32(5), u32(bytes.length), u32(bytes.length), bytes));
}

/** A pcap file of one record with another link type. */
function pcapOf(linkType: number, record: Uint8Array): Uint8Array {
  const header = unhex("d4c3b2a1 0200 0400 00000000 00000000 00000400");
  return joined(header, u32(linkType), u32(1), u32(2), u32(record.length), u32(record.length), record);
}

/** A pcap file of one record that had `sent` bytes on the air. */
function cutPcap(linkType: number, kept: Uint8Array, sent: number): Uint8Array {
  const file = pcapOf(linkType, kept);
  file.set(u32(sent), 36);
  return file;
}

function checksOf(file: Uint8Array): string[] {
  return readAll([file]).found.map(({ bytes, frameCheck }) => `${hex(bytes)} ${frameCheck}`);
}

/** A UDP datagram to the port of ZEP. */
function udp(payload: Uint8Array): Uint8Array {
  return joined(unhex("455a 455a"), Uint8Array.of(0, payload.length + 8), unhex("0000"), payload);
}

function ip(payload: Uint8Array): Uint8Array {
  const length = Uint8Array.of(0, payload.length + 20);
  return joined(unhex("4500"), length, unhex("00000000 4011 0000 7f000001 7f000001"), payload);
}

function ethernet(payload: Uint8Array): Uint8Array {
  return joined(new Uint8Array(12), unhex("0800"), payload);
}

describe("CaptureReader", () => {
  it("reads pcap with frame numbers, times and check sequences", () => {
    const { found, problem } = readAll([pcapFile(frames, 1_500_000)]);
    assert.equal(problem, undefined);
    assert.deepEqual(
      found.map(({ bytes }) => hex(bytes)),
      frames.map(hex),
    );
    assert.deepEqual(
      found.map(({ number }) => number),
      [1, 2, 3],
    );
    assert.equal((found[1]?.timeUs ?? 0) - (found[0]?.timeUs ?? 0), 1_500_000);
    assert.ok(found.every(({ frameCheck }) => frameCheck === "good"));
  });

  it("says which check sequence is wrong", () => {
    const file = pcapFile(frames);
    file[file.length - 1] = (file.at(-1) ?? 0) ^ 0xff;
    assert.deepEqual(
      readAll([file]).found.map(({ frameCheck }) => frameCheck),
      ["good", "good", "bad"],
    );
  });

  it("gives the same frames however the file is cut into chunks", () => {
    const dcf = Buffer.from("#Format=4\n1 5.000001 5 020042ffff 255 1 -3 25 1 0 1 32767\n");
    const files = [pcapFile(frames), pcapng(...frames.map(packet)), dcf];
    fc.assert(
      fc.property(
        fc.constantFrom(...files),
        fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 40 }),
        (file, sizes) => {
          const chunks: Uint8Array[] = [];
          let offset = 0;
          for (const size of sizes) {
            chunks.push(file.slice(offset, offset + size));
            offset += size;
          }
          chunks.push(file.slice(offset));
          assert.deepEqual(readAll(chunks), readAll([file]));
        },
      ),
      { numRuns: 200 },
    );
  });

  it("reads what the writer of pcapng writes, keys included", () => {
    const key = unhex("5f1e2d3c4b5a69788796a5b4c3d2e1f0");
    const time = 1_700_000_000_123_456;
    const file = joined(
      pcapngHeader(),
      pcapngKey(key, "network", 0x1a62),
      pcapngKey(key.toReversed(), "link", 0x1a62),
      ...frames.map((frame, index) => pcapngRecord(time, frame, { damaged: index === 1 })),
    );
    const { found, keys, problem } = readAll([file]);
    assert.equal(problem, undefined);
    assert.deepEqual(keys, [`network ${hex(key)}`, `link ${hex(key.toReversed())}`]);
    assert.deepEqual(
      found.map(({ bytes, frameCheck, timeUs }) => [hex(bytes), frameCheck, timeUs]),
      frames.map((frame, index) => [hex(frame), index === 1 ? "bad" : "good", time]),
    );
  });

  it("reads big-endian pcap with nanoseconds", () => {
    const file = unhex(
      "a1b23c4d 0002 0004 00000000 00000000 00040000 000000e6 00000001 000003e8 00000003 00000003 020042",
    );
    const { found } = readAll([file]);
    assert.deepEqual([found[0]?.timeUs, found[0]?.frameCheck], [1_000_001, "absent"]);
  });

  it("reads what it writes with strength and channel (link type 283), whole and damaged, in both formats", () => {
    const frame = unhex("020042");
    const time = 1_700_000_000_123_456;
    const heard = { rssi: -48, channel: 25 };
    const files = [
      joined(
        pcapHeader(283),
        pcapRecord(time, frame, heard),
        pcapRecord(time, frame, { ...heard, damaged: true }),
      ),
      joined(
        pcapngHeader(283),
        pcapngRecord(time, frame, heard),
        pcapngRecord(time, frame, { ...heard, damaged: true }),
      ),
    ];
    for (const file of files) {
      const { found } = readAll([file]);
      assert.deepEqual(
        found.map(({ frameCheck, rssi, channel }) => [frameCheck, rssi, channel]),
        [
          ["good", -48, 25],
          ["bad", -48, 25],
        ],
      );
      assert.deepEqual(
        found.map(({ bytes }) => hex(bytes)),
        ["020042", "020042"],
      );
    }
  });

  it("reads link type 283 with channel and signal, and 215", () => {
    const tap = unhex("0000 1c00 0000 0100 01000000 0100 0400 000040c2 0300 0300 19000000 020042 aed4");
    const [frame] = readAll([pcapOf(283, tap)]).found;
    assert.deepEqual(
      [frame?.channel, frame?.rssi, hex(frame?.bytes ?? new Uint8Array(0))],
      [25, -48, "020042"],
    );
    const phy = readAll([pcapOf(215, unhex("00000000 a7 05 020042 0000"))]).found;
    assert.deepEqual(
      phy.map(({ bytes, frameCheck }) => [hex(bytes), frameCheck]),
      [["020042", "bad"]],
    );
    assert.equal(readAll([pcapOf(215, unhex("00000000 a7 7f 020042"))]).unreadable, 1);
  });

  it("reads what TI radios put in place of the check sequence", () => {
    const { found } = readAll([pcapOf(195, unhex("020042 10 eb"))], "ti");
    assert.deepEqual([found[0]?.rssi, found[0]?.frameCheck], [-57, "good"]);
  });

  it("tells a frame that the sniffer cut from one of which only the check sequence is missing", () => {
    assert.deepEqual(checksOf(cutPcap(195, unhex("02004277"), 40)), ["02004277 cut"]);
    assert.deepEqual(checksOf(cutPcap(195, unhex("020042"), 5)), ["020042 absent"]);
    assert.deepEqual(checksOf(cutPcap(195, unhex("020042ae"), 5)), ["020042 absent"]);
    assert.deepEqual(checksOf(cutPcap(230, unhex("020042"), 9)), ["020042 cut"]);
    const tap = unhex("0000 0c00 0000 0100 01000000 020042");
    assert.deepEqual(checksOf(cutPcap(283, tap, tap.length + 2)), ["020042 absent"]);
    assert.deepEqual(checksOf(cutPcap(283, tap, tap.length + 20)), ["020042 cut"]);
  });

  it("adds the offset of a pcapng interface to its times, and reads the packet block of before", () => {
    const section = pcapngBlock(0x0a0d0d0a, unhex("4d3c2b1a 0100 0000 ffffffffffffffff"));
    const offset = unhex("0e00 0800 0a00000000000000 0000 0000");
    const block = joined(unhex("0000 0000"), u32(0), u32(5), u32(3), u32(3), unhex("020042"));
    const file = joined(
      section,
      pcapngBlock(1, joined(unhex("e600 0000 00000000"), offset)),
      pcapngBlock(2, block),
      packet(unhex("020043")),
    );
    assert.deepEqual(
      readAll([file]).found.map(({ number, timeUs, bytes }) => [number, timeUs, hex(bytes)]),
      [
        [1, 10_000_005, "020042"],
        [2, 10_000_005, "020043"],
      ],
    );
  });

  it("reads the keys that stand in pcapng", () => {
    const key = "00112233445566778899aabbccddeeff";
    const secrets = (type: number) => pcapngBlock(10, joined(u32(type), u32(18), unhex(key), unhex("621a")));
    const { keys, found } = readAll([
      pcapng(secrets(0x5a4e574b), secrets(0x5a415053), ...frames.map(packet)),
    ]);
    assert.deepEqual(keys, [`network ${key}`, `link ${key}`]);
    assert.equal(found.length, 3);
  });

  const zep2 = joined(
    unhex("4558 02 01 0f 0001 01 ff 0000000000000000 00000001 00000000000000000000 05"),
    unhex("020042 aed4"),
  );
  const zep3 = joined(unhex("4558 03"), zep2.subarray(3));
  const carried: readonly [name: string, file: Uint8Array][] = [
    ["ZEP version 2 over Ethernet", pcapOf(1, ethernet(ip(udp(zep2))))],
    ["ZEP version 2 over raw IP", pcapOf(101, ip(udp(zep2)))],
    [
      "ZEP version 1 over raw IP",
      pcapOf(228, ip(udp(unhex("4558 01 0f 0001 01 ff 00000000000000 05 020042 aed4")))),
    ],
    ["ZEP version 3 over the loopback of BSD", pcapOf(0, joined(unhex("02000000"), ip(udp(zep3))))],
    [
      "ZEP version 3 in Linux cooked captures of the second version",
      pcapOf(276, joined(unhex("0800 0000 00000001 0304 00 06 0000000000000000"), ip(udp(zep3)))),
    ],
    ["Linux cooked captures", pcapOf(113, unhex("0000 0324 0000 0000000000000000 00f6 020042 aed4"))],
  ];
  for (const [name, file] of carried) {
    it(`reads ${name}`, () => {
      const { found, problem } = readAll([file]);
      const frames = found.map(({ bytes, frameCheck }) => `${hex(bytes)} ${frameCheck}`);
      assert.deepEqual([frames, problem], [["020042 good"], undefined]);
    });
  }

  it("passes over packets that carry no frame, and says so when none does", () => {
    const web = pcapOf(1, ethernet(ip(joined(unhex("0050 0051 000c 0000"), unhex("474554")))));
    const { found, problem } = readAll([web]);
    assert.deepEqual([found.length, problem?.kind], [0, "no-frames"]);
  });

  const bad: readonly [name: string, file: Uint8Array, kind: string, framesBefore: number][] = [
    ["an empty file", new Uint8Array(0), "empty", 0],
    ["a pcap file without a frame", pcapFile([]), "no-frames", 0],
    ["a pcapng file without a frame", pcapng(), "no-frames", 0],
    ["a Daintree file without a frame", Buffer.from("#Format=4\n# nothing\n"), "no-frames", 0],
    ["a file of another kind", Buffer.from("GIF89a and so on"), "unknown-format", 0],
    ["a file shorter than any magic", Uint8Array.of(1), "unknown-format", 0],
    ["a link type that is not IEEE 802.15.4", pcapOf(105, unhex("00")), "unknown-link-type", 0],
    ["a file cut within a frame", pcapFile(frames).slice(0, -3), "truncated", 2],
    ["a file cut within its header", pcapFile(frames).slice(0, 20), "truncated", 0],
    ["a pcapng file cut within a block", pcapng(...frames.map(packet)).slice(0, -6), "truncated", 2],
    [
      "a record that claims to be huge",
      joined(pcapFile(frames), u32(0), u32(0), u32(1e9), u32(1e9)),
      "damaged",
      3,
    ],
    [
      "a Daintree line cut short",
      Buffer.from("#Format=4\n1 5.0 5 020042ffff 255 1\n2 6.0 9 0200"),
      "truncated",
      1,
    ],
  ];
  for (const [name, file, kind, framesBefore] of bad) {
    it(`says what is wrong with ${name}, and keeps the frames before`, () => {
      const { problem, found } = readAll([file]);
      assert.deepEqual([problem?.kind, found.length], [kind, framesBefore]);
    });
  }

  it("never throws, whatever the file", () => {
    const seeds = [
      pcapFile(frames),
      pcapng(...frames.map(packet)),
      pcapOf(283, unhex("00001c000000010001000000")),
    ];
    const file = fc
      .tuple(fc.constantFrom(...seeds), fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 8 }))
      .map(([seed, changes]) => {
        const bytes = seed.slice();
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        return bytes;
      });
    fc.assert(
      fc.property(fc.oneof(file, fc.uint8Array({ maxLength: 300 })), (bytes) => void readAll([bytes])),
      { numRuns: 5_000 },
    );
  });
});
