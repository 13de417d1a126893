import assert from "node:assert/strict";
import { Socket } from "node:net";
import { describe, it } from "node:test";

import { limitsSchema } from "../limits.ts";
import { PacketMemories, type PacketMemory } from "../packet-memory.ts";
import { Batch, FromCarrier, readBatch, Returns } from "./batch.ts";
import { CarriedConnection } from "./carried-connection.ts";

/** A connection whose transport does each write when it is told to. */
function stage(later: (connection: CarriedConnection, batch: Batch) => void) {
  const batch = new Batch();
  const writes: (() => void)[] = [];
  const written: Uint8Array[] = [];
  const socket = new Socket();
  const connection = new CarriedConnection(
    {
      link: {
        batch: () => batch,
        data() {},
        later: (reporting) => later(reporting, batch),
        forget() {},
      },
      socket,
      gate: { name: "test", limits: limitsSchema.parse({}), countsLoopback: false, start() {} },
      gathers: false,
    },
    1,
    1,
  );
  connection.ready(
    {
      write(bytes, done) {
        written.push(bytes);
        writes.push(done);
      },
      writeAll(pieces, done) {
        written.push(...pieces);
        writes.push(done);
      },
      pause() {},
      resume() {},
      end() {},
    },
    {
      listener: "test",
      anonymousAllowed: true,
      confidential: true,
      address: "",
      port: 0,
      certificate: undefined,
      certificateError: undefined,
    },
  );
  const told = (): number => {
    let written = 0;
    readBatch(batch.take(), new Returns(), (kind, _number, value) => {
      if (kind === FromCarrier.written) written += value;
    });
    return written;
  };
  return { connection, batch, writes, written, told, socket };
}

/** Memory that tells when nobody holds it any more. */
function memoryOf(bytes: number): { readonly memory: PacketMemory; isFree: () => boolean } {
  const memories = new PacketMemories();
  const memory = memories.take(bytes);
  return { memory, isFree: () => memories.take(bytes).bytes === memory.bytes };
}

describe("a connection in another thread than the first", () => {
  it("tells of every write, also when what it adds to is handed over at that moment", () => {
    const { connection, writes, told, socket } = stage((reporting, batch) => reporting.report(batch));
    const { memory } = memoryOf(40_000);
    let all = 0;
    for (let round = 0; round < 3; round += 1) {
      for (let count = 0; count < 4; count += 1) connection.write(memory.bytes, memory);
      for (const done of writes.splice(0)) done();
      all += told();
    }
    assert.equal(all, 12);
    socket.destroy();
  });

  it("counts several pieces that belong together as one write", () => {
    const { connection, batch, writes, told, socket } = stage(() => {});
    connection.gather(3);
    const { memory, isFree } = memoryOf(80);
    for (let piece = 0; piece < 3; piece += 1) connection.write(memory.bytes.subarray(0, 10), memory);
    connection.write(memory.bytes.subarray(0, 10), memory);
    memory.release();
    assert.equal(writes.length, 2);
    for (const done of writes.splice(0)) done();
    connection.report(batch);
    assert.equal(told(), 2);
    assert.ok(isFree());
    socket.destroy();
  });

  it("holds what its client does not take, but not all that came together with it", () => {
    const { connection, writes, written, socket } = stage(() => {});
    const batches = ["first", "second", "third"].map((text) => {
      const { memory, isFree } = memoryOf(10_000);
      memory.bytes.write(text);
      connection.write(memory.bytes.subarray(0, text.length), memory);
      memory.release();
      return { memory, isFree };
    });
    const large = memoryOf(10_000);
    connection.write(large.memory.bytes, large.memory);
    large.memory.release();
    assert.deepEqual(
      [...batches, large].map(({ isFree }) => isFree()),
      [false, true, true, false],
    );
    for (const { memory } of batches.slice(1)) memory.bytes.fill(0);
    assert.deepEqual(
      written.slice(0, 3).map((bytes) => Buffer.from(bytes).toString()),
      ["first", "second", "third"],
    );
    for (const done of writes) done();
    assert.ok(batches[0]?.isFree());
    assert.ok(large.isFree());
    socket.destroy();
  });
});
