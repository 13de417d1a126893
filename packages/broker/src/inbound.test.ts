import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { Frame } from "@postern/mqtt/frame";
import { encodePublish } from "@postern/mqtt/publish";
import * as fc from "fast-check";

import { Inbound, Next, type PacketReader } from "./inbound.ts";
import type { PacketMemory } from "./packet-memory.ts";

class Recorder implements PacketReader {
  readonly version = 5;
  packetBytesMax = 1_000;
  readonly packets: Buffer[] = [];
  unreadable: string | undefined = undefined;
  next: (index: number) => Next = () => Next.go;

  onPacket(bytes: Buffer, frame: Frame): Next {
    this.packets.push(Buffer.from(bytes.subarray(frame.start, frame.bodyEnd)));
    return this.next(this.packets.length - 1);
  }

  onUnreadable(result: "malformed" | "tooLarge" | "tooMuch"): void {
    this.unreadable = result;
  }

  held = 0;
  heldMax = Infinity;

  onHeld(bytesMore: number): boolean {
    this.held += bytesMore;
    return this.held <= this.heldMax;
  }
}

function packet(payloadBytes: number, fill: number): Buffer {
  return encodePublish({
    version: 5,
    topic: Buffer.from("a/b"),
    payload: Buffer.alloc(payloadBytes, fill),
    qos: 1,
    retain: false,
    dup: false,
    packetId: 1 + fill,
    properties: new Uint8Array(0),
  }).bytes;
}

function feed(inbound: Inbound, stream: Buffer, cuts: readonly number[]): void {
  const ends = [...new Set(cuts.map((cut) => cut % (stream.length + 1)))].sort((a, b) => a - b);
  let start = 0;
  for (const end of [...ends, stream.length]) {
    // What a socket reads next comes to the same memory.
    const read = Buffer.from(stream.subarray(start, end));
    if (end > start) inbound.take(read);
    read.fill(0xdd);
    start = Math.max(start, end);
  }
}

const sizes = fc.array(fc.integer({ min: 0, max: 700 }), { minLength: 1, maxLength: 12 });
const cuts = fc.array(fc.nat({ max: 9_000 }), { maxLength: 60 });

describe("Inbound", () => {
  it("hands on the same packets whatever the split of the stream, and does not look at what it was given afterwards", () => {
    fc.assert(
      fc.property(sizes, cuts, (lengths, at) => {
        const packets = lengths.map((length, index) => packet(length, index));
        const reader = new Recorder();
        feed(new Inbound(reader), Buffer.concat(packets), at);
        assert.deepEqual(reader.packets, packets);
        assert.equal(reader.held, 0);
      }),
      { numRuns: 300 },
    );
  });

  it("hands on every packet once when it is paused and resumed at any of them", () => {
    fc.assert(
      fc.property(
        sizes,
        cuts,
        fc.array(fc.boolean(), { minLength: 12, maxLength: 12 }),
        (lengths, at, pauses) => {
          const packets = lengths.map((length, index) => packet(length, index));
          const reader = new Recorder();
          reader.next = (index) => (pauses[index] === true ? Next.pause : Next.go);
          const inbound = new Inbound(reader);
          feed(inbound, Buffer.concat(packets), at);
          for (let turn = 0; turn <= packets.length; turn += 1) inbound.resume();
          assert.deepEqual(reader.packets, packets);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("hands on nothing after a packet that ends the connection", () => {
    const reader = new Recorder();
    reader.next = (index) => (index === 1 ? Next.stop : Next.go);
    const inbound = new Inbound(reader);
    inbound.take(Buffer.concat([packet(1, 0), packet(2, 1), packet(3, 2)]));
    inbound.take(packet(4, 3));
    inbound.resume();
    assert.equal(reader.packets.length, 2);
  });

  it("refuses a packet longer than allowed as soon as its length is known, before its body", () => {
    for (const bytes of [Buffer.of(0x30, 0xff, 0xff, 0xff, 0x7f), Buffer.of(0x30, 0xe8, 0x07)]) {
      for (const pieces of [[bytes], [...bytes].map((byte) => Buffer.of(byte))]) {
        const reader = new Recorder();
        const inbound = new Inbound(reader);
        for (const piece of pieces) inbound.take(piece);
        assert.equal(reader.unreadable, "tooLarge");
        inbound.take(packet(1, 0));
        assert.equal(reader.packets.length, 0);
      }
    }
  });

  it("refuses a remaining length of five bytes (MQTT 5.0 §1.5.5)", () => {
    const reader = new Recorder();
    reader.packetBytesMax = Infinity;
    new Inbound(reader).take(Buffer.of(0x30, 0xff, 0xff, 0xff, 0xff, 0x01));
    assert.equal(reader.unreadable, "malformed");
  });

  it("keeps no more than has arrived of a packet that declares 200 MB", () => {
    const reader = new Recorder();
    reader.packetBytesMax = 268_435_460;
    const inbound = new Inbound(reader);
    const before = process.memoryUsage().arrayBuffers;
    inbound.take(Buffer.of(0x30, 0xff, 0xff, 0xff, 0x5f, 1, 2, 3));
    for (let index = 0; index < 1_000; index += 1) inbound.take(Buffer.of(1));
    assert.ok(process.memoryUsage().arrayBuffers - before < 1_000_000);
  });

  it("holds at most twice what has arrived of a large packet, and in the end no more than the packet", () => {
    const reader = new Recorder();
    reader.packetBytesMax = 100_000;
    const inbound = new Inbound(reader);
    const whole = packet(80_000, 1);
    let arrived = 0;
    for (const bytes of [70, 1_000, 20_000, 30_000]) {
      inbound.take(whole.subarray(arrived, arrived + bytes));
      arrived += bytes;
      assert.ok(reader.held <= Math.min(arrived * 2, whole.length), `${reader.held} of ${arrived} bytes`);
    }
    assert.equal(reader.held, whole.length);
    inbound.take(whole.subarray(arrived));
    assert.deepEqual(reader.packets, [whole]);
    assert.equal(reader.held, 0);
  });

  it("leaves a large packet alone for as long as its memory is held, in one piece or many, and then uses the memory again", () => {
    for (const pieces of [1, 3]) {
      const reader = new Recorder();
      reader.packetBytesMax = 100_000;
      const inbound = new Inbound(reader);
      const seen: { readonly view: Buffer; readonly memory: PacketMemory | undefined }[] = [];
      reader.onPacket = (bytes, frame) => {
        inbound.memory?.hold();
        seen.push({ view: bytes.subarray(frame.start, frame.bodyEnd), memory: inbound.memory });
        return Next.go;
      };
      const send = (whole: Buffer): void => {
        const cuts = Array.from({ length: pieces - 1 }, (_, index) => ((index + 1) * whole.length) / pieces);
        feed(inbound, whole, cuts.map(Math.floor));
      };
      const [first, second, third] = [packet(50_000, 1), packet(50_000, 2), packet(50_000, 3)];
      send(first);
      send(second);
      assert.deepEqual(
        seen.map(({ view }) => view),
        [first, second],
      );
      seen[0]?.memory?.release();
      send(third);
      assert.deepEqual(seen[2]?.view, third);
      assert.deepEqual(seen[1]?.view, second);
      assert.equal(seen[2]?.view.buffer, seen[0]?.view.buffer);
      for (const { memory } of seen.slice(1)) memory?.release();
    }
  });

  it("says what it holds, gives it back, and stops where the server holds too much in all", () => {
    const reader = new Recorder();
    reader.heldMax = 200;
    const inbound = new Inbound(reader);
    const whole = packet(600, 1);
    inbound.take(whole.subarray(0, 100));
    assert.ok(reader.held >= 100 && reader.held <= 200, `${reader.held} bytes`);
    inbound.take(whole.subarray(100, 500));
    assert.equal(reader.unreadable, "tooMuch");
    assert.equal(reader.held, 0);
    inbound.take(packet(1, 0));
    assert.equal(reader.packets.length, 0);
  });
});
