import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import {
  readCounters,
  readEntryHead,
  readMessage,
  readSession,
  readSubscription,
  readWill,
  writeCounters,
  writeEntryHead,
  writeMessage,
  writeSession,
  writeSubscription,
  writeWill,
} from "./records.ts";
import { forEachRow, RowReader } from "./row-reader.ts";
import { RowWriter } from "./row-writer.ts";
import { plainMessage } from "../testing/fixtures.ts";

const KIND = 0x77;

/** Writes one row. @returns its key and value as the database would have them. */
function row(write: (writer: RowWriter) => void): { key: Buffer; value: Buffer } {
  const writer = new RowWriter();
  writer.begin(KIND);
  writer.value();
  write(writer);
  writer.put();
  const rows: { key: Buffer; value: Buffer }[] = [];
  const bytes = writer.take();
  const end = forEachRow(bytes, {
    put: (key, value) => rows.push({ key, value }),
    delete: () => assert.fail(),
  });
  assert.equal(end, bytes.length);
  assert.ok(rows[0] !== undefined && rows.length === 1);
  return rows[0];
}

function roundTrip<Value>(write: (writer: RowWriter) => void, read: (reader: RowReader) => Value): Value {
  const { key, value } = row(write);
  return read(new RowReader(key, value));
}

/** Plain objects only: the values are compared with what was read. */
function record<Value>(fields: { [Key in keyof Value]: fc.Arbitrary<Value[Key]> }): fc.Arbitrary<Value> {
  return fc.record(fields, { noNullPrototype: true });
}

const text = fc.string({ unit: "binary", maxLength: 300 });
const bytes = fc.uint8Array({ maxLength: 3000 });
const qos = fc.constantFrom(0 as const, 1 as const, 2 as const);
const ms = fc.option(fc.nat({ max: 4e12 }), { nil: null });
const u32 = fc.nat({ max: 0xffff_ffff });
const u48 = fc.nat({ max: 2 ** 48 - 1 });
const varint = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const message = record({
  topic: text,
  payload: bytes,
  qos,
  properties: bytes,
  publishedAtMs: fc.nat({ max: 4e12 }),
  expiresAtMs: fc.oneof(fc.constant(Infinity), fc.nat({ max: 4e12 })),
  publisher: text,
});

function holds<Value>(arbitrary: fc.Arbitrary<Value>, check: (value: Value) => void): void {
  fc.assert(fc.property(arbitrary, check), { numRuns: 200 });
}

describe("records", () => {
  it("come back as they were written: messages", () => {
    holds(message, (value) => {
      const read = roundTrip((writer) => writeMessage(writer, value), readMessage);
      assert.deepEqual(plainMessage(read), plainMessage(value));
    });
  });

  it("come back as they were written: sessions, subscriptions, wills, counters", () => {
    const protocolVersion = fc.constantFrom(3 as const, 4 as const, 5 as const);
    const session = {
      clientId: text,
      owner: text,
      protocolVersion,
      expirySeconds: u32,
      disconnectedAtMs: ms,
    };
    holds(record(session), (value) => {
      assert.deepEqual(
        roundTrip((writer) => writeSession(writer, value), readSession),
        value,
      );
    });
    const flags = { noLocal: fc.boolean(), retainAsPublished: fc.boolean() };
    const identifier = fc.nat({ max: 268_435_455 });
    const subscription = record({ qos, ...flags, retainHandling: qos, identifier });
    holds(record({ filter: text, subscription }), (value) => {
      const read = roundTrip(
        (writer) => writeSubscription(writer, value.filter, value.subscription),
        readSubscription,
      );
      assert.deepEqual(read, value);
    });
    const will = { clientId: text, message, retain: fc.boolean(), delaySeconds: u32, dueAtMs: ms };
    holds(record(will), (value) => {
      const read = roundTrip((writer) => writeWill(writer, value), readWill);
      const plain = { ...read, message: plainMessage(read.message) };
      assert.deepEqual(plain, { ...value, message: plainMessage(value.message) });
    });
    holds(record({ queuedCount: varint, queuedBytes: varint, nextPosition: varint }), (value) => {
      assert.deepEqual(
        roundTrip((writer) => writeCounters(writer, value), readCounters),
        value,
      );
    });
  });

  it("come back as they were written: queue entries", () => {
    const head = {
      state: qos,
      packetId: fc.nat({ max: 65_535 }),
      qos: fc.constantFrom(1 as const, 2 as const),
      retain: fc.boolean(),
      messageNumber: u48,
      bytes: varint,
      subscriptionIdentifiers: fc.array(fc.nat({ max: 268_435_455 }), { maxLength: 20 }),
      inline: fc.boolean(),
    };
    holds(record(head), (value) => {
      const read = roundTrip((writer) => writeEntryHead(writer, value, value.inline), readEntryHead);
      assert.deepEqual(read, value);
    });
  });

  it("are refused when any bit of key or value is changed, or an end is missing", () => {
    const { key, value } = row((writer) => writer.text("some text, and a number"));
    for (const part of [key, value]) {
      for (let bit = 0; bit < part.length * 8; bit += 1) {
        const at = bit >> 3;
        part[at] = (part[at] ?? 0) ^ (1 << (bit & 7));
        assert.throws(() => new RowReader(key, value), { code: "STORE_CORRUPT" });
        part[at] = (part[at] ?? 0) ^ (1 << (bit & 7));
      }
    }
    for (let length = 0; length < value.length; length += 1) {
      assert.throws(() => new RowReader(key, value.subarray(0, length)), { code: "STORE_CORRUPT" });
    }
    assert.equal(new RowReader(key, value).text(), "some text, and a number");
  });

  it("are refused when they are of an unknown version, or shorter than what is read from them", () => {
    const { key, value } = row((writer) => writer.u8(1));
    assert.throws(() => new RowReader(key, value).u48(), { code: "STORE_CORRUPT", message: /ends too soon/ });
    assert.throws(() => new RowReader(key, value).text(), { code: "STORE_CORRUPT" });
  });

  it("that were given up half-way leave nothing behind", () => {
    const writer = new RowWriter();
    writer.begin(KIND);
    writer.value();
    assert.throws(() => writer.u32(-1), { name: "RangeError" });
    assert.equal(writer.isEmpty, true);
    writer.begin(KIND);
    writer.u8(2);
    writer.delete();
    const seen: string[] = [];
    forEachRow(writer.take(), { put: () => assert.fail(), delete: (key) => seen.push(key.toString("hex")) });
    assert.deepEqual(seen, ["7702"]);
  });
});
