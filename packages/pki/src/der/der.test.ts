import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { fromPem, toPem } from "../pem.ts";
import {
  createDerReader,
  enter,
  fail,
  finish,
  hasMore,
  leave,
  peekTag,
  readBitString,
  readBoolean,
  readContent,
  readElement,
  readNamedBits,
  readObjectIdentifier,
  readSerialNumber,
  readSmallInteger,
  readTime,
  skip,
  type DerReader,
} from "./reader.ts";
import { Tag, contextPrimitiveTag, contextTag } from "./tag.ts";
import {
  bitString,
  boolean,
  element,
  enumerated,
  explicit,
  generalizedTime,
  headerBytes,
  ia5String,
  integer,
  nullValue,
  objectIdentifier,
  octetString,
  sequence,
  serialNumber,
  setOf,
  time,
  writeHeader,
} from "./writer.ts";

const noOpenssl = spawnSync("openssl", ["version"]).status === 0 ? false : "openssl is not installed";

function read<T>(bytes: Uint8Array, decode: (reader: DerReader) => T) {
  const reader = createDerReader(bytes);
  return finish(reader, decode(reader));
}

function value<T>(bytes: Uint8Array, decode: (reader: DerReader) => T): T {
  const decoded = read(bytes, decode);
  if (decoded.kind === "malformed") assert.fail(decoded.reason);
  return decoded.value;
}

function reason(hex: string, decode: (reader: DerReader) => unknown): string {
  const decoded = read(Buffer.from(hex.replaceAll(" ", ""), "hex"), decode);
  assert.ok(decoded.kind === "malformed", `${hex} was read as ${JSON.stringify(decoded)}`);
  return decoded.reason;
}

const field = "field";

function take(reader: DerReader): Uint8Array {
  return readContent(reader, Tag.octetString, field);
}

function takeInner(reader: DerReader): void {
  const outer = enter(reader, Tag.sequence, "list");
  readContent(reader, Tag.octetString, field);
  leave(reader, outer, "list");
}

/** Goes into everything constructed and reads everything else in some way. */
function walk(reader: DerReader, depth: number): void {
  while (hasMore(reader)) {
    const before = reader.offset;
    const tag = peekTag(reader);
    if ((tag & 0x20) !== 0 && depth < 8) {
      const outer = enter(reader, tag, field);
      walk(reader, depth + 1);
      leave(reader, outer, field);
    } else if (tag === Tag.integer) readSerialNumber(reader, field);
    else if (tag === Tag.enumerated) readSmallInteger(reader, field, Tag.enumerated);
    else if (tag === Tag.boolean) readBoolean(reader, field);
    else if (tag === Tag.objectIdentifier) readObjectIdentifier(reader, field);
    else if (tag === Tag.bitString) readNamedBits(reader, field);
    else if (tag === Tag.utcTime || tag === Tag.generalizedTime) readTime(reader, field);
    else skip(reader, field);
    assert.ok(reader.failure !== undefined || reader.offset > before);
    assert.ok(reader.offset <= reader.bytes.length);
  }
}

describe("DER reader", () => {
  it("refuses every form of length that is not the shortest (X.690 §10.1)", () => {
    assert.match(reason("04 80 00 00", take), /indefinite/);
    assert.match(reason("04 81 01 00", take), /shortest/);
    assert.match(reason(`04 82 00 80 ${"00".repeat(128)}`, take), /shortest/);
    assert.match(reason("04 85 01 00 00 00 00", take), /5 bytes/);
    assert.match(reason("04 ff", take), /127 bytes/);
  });

  it("does not look past the end of what it was given, or of what it entered", () => {
    for (const cut of ["", "04", "04 01", "04 81", "04 82 01", "04 84 ff ff ff ff"])
      assert.match(reason(cut, take), /ends/);
    assert.match(reason("30 02 04 05 aa bb cc dd ee", takeInner), /ends within its field/);
    assert.match(reason("30 04 04 01 aa 05 00", takeInner), /ends|follow/);
    assert.match(reason("30 05 04 01 aa 05 00", takeInner), /2 bytes follow the last field of its list/);
    assert.match(reason("30 03 04 01 aa 00", takeInner), /1 bytes follow its end/);
    assert.match(reason("1f 81 01 00", take), /several bytes/);
    assert.match(reason("02 01 00", take), /tag 0x02 instead of 0x04/);
  });

  it("keeps its first failure, and reads nothing more", () => {
    const reader = createDerReader(Buffer.from("020100010100", "hex"));
    assert.equal(readBoolean(reader, "first"), false);
    assert.equal(readSmallInteger(reader, "second"), 0);
    assert.equal(hasMore(reader), false);
    assert.equal(peekTag(reader), -1);
    assert.match(reader.failure ?? "", /first/);
    fail(reader, "something else");
    assert.match(reader.failure ?? "", /first/);
    assert.equal(finish(reader, 1).kind, "malformed");
  });

  it("refuses values that DER writes otherwise (X.690 §8.3.2, §11.1, §11.2, §8.19.2)", () => {
    const integers = ["02 00", "02 02 00 7f", "02 02 ff 80", `02 41 01 ${"00".repeat(64)}`];
    for (const hex of integers) {
      assert.match(
        reason(hex, (reader) => readSerialNumber(reader, field)),
        /shortest|long/,
      );
      assert.match(
        reason(hex, (reader) => readSmallInteger(reader, field)),
        /shortest|long/,
      );
    }
    assert.match(
      reason("02 01 80", (reader) => readSerialNumber(reader, field)),
      /negative/,
    );
    assert.match(
      reason("02 01 ff", (reader) => readSmallInteger(reader, field)),
      /negative/,
    );
    assert.match(
      reason("02 07 01 00 00 00 00 00 00", (reader) => readSmallInteger(reader, field)),
      /large/,
    );
    for (const hex of ["01 00", "01 01 01", "01 02 00 00"]) {
      assert.match(
        reason(hex, (reader) => readBoolean(reader, field)),
        /BOOLEAN/,
      );
    }
    for (const hex of ["03 00", "03 01 01", "03 02 01 01", "03 02 08 00"]) {
      assert.match(
        reason(hex, (reader) => readNamedBits(reader, field)),
        /BIT STRING/,
      );
      assert.match(
        reason(hex, (reader) => readBitString(reader, field)),
        /BIT STRING/,
      );
    }
    for (const hex of [
      "06 00",
      "06 01 80",
      "06 02 2a 80",
      "06 03 2a 80 01",
      `06 41 ${"01".repeat(65)}`,
      `06 0a 2a ${"ff".repeat(8)} 7f`,
    ]) {
      assert.match(
        reason(hex, (reader) => readObjectIdentifier(reader, field)),
        /object identifier/,
      );
    }
  });

  it("takes only times in whole seconds of UTC that exist (RFC 5280 §4.1.2.5)", () => {
    const times = [
      ["170d", "500101000000Z", Date.UTC(1950, 0, 1)],
      ["170d", "491231235959Z", Date.UTC(2049, 11, 31, 23, 59, 59)],
      ["180f", "20500101000000Z", Date.UTC(2050, 0, 1)],
      ["180f", "20240229120000Z", Date.UTC(2024, 1, 29, 12)],
    ] as const;
    for (const [header, text, ms] of times) {
      const bytes = Buffer.concat([Buffer.from(header, "hex"), Buffer.from(text)]);
      assert.equal(
        value(bytes, (reader) => readTime(reader, field)),
        ms,
        text,
      );
    }
    const refused = [
      "20230229000000Z",
      "20230001000000Z",
      "20231301000000Z",
      "20230100000000Z",
      "20230101240000Z",
      "20230101006000Z",
      "20230101000060Z",
      "20230101000000+",
      "2023010100000aZ",
      "00990101000000Z",
      "20230101000000.5Z",
      "202301010000Z",
    ];
    for (const text of refused) {
      const bytes = element(Tag.generalizedTime, Buffer.from(text));
      assert.equal(read(bytes, (reader) => readTime(reader, field)).kind, "malformed", text);
    }
    assert.equal(read(time(0), (reader) => readTime(reader, field, "generalized")).kind, "malformed");
  });

  it("never throws or hangs, whatever the bytes, and stays within them", () => {
    const structured = fc.letrec<{ node: Buffer }>((tie) => ({
      node: fc.oneof(
        { maxDepth: 4 },
        fc
          .tuple(fc.integer({ min: 0, max: 255 }), fc.uint8Array({ maxLength: 20 }))
          .map(([tag, bytes]) => element(tag, bytes)),
        fc.array(tie("node"), { maxLength: 4 }).map((parts) => sequence(...parts)),
      ),
    })).node;
    fc.assert(
      fc.property(
        fc.oneof(fc.uint8Array({ maxLength: 200 }), structured),
        fc.nat(),
        fc.nat(255),
        (bytes, at, by) => {
          const changed = Uint8Array.from(bytes);
          if (changed.length > 0) changed[at % changed.length] = by;
          for (const input of [bytes, changed]) walk(createDerReader(input), 0);
        },
      ),
    );
  });
});

describe("DER writer", () => {
  it("writes what the reader reads back", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 48 - 1 }),
        fc.uint8Array({ minLength: 1, maxLength: 40 }),
        fc.tuple(fc.constantFrom(0, 1), fc.nat(39), fc.array(fc.nat(), { maxLength: 6 })),
        fc.integer({ min: Date.UTC(1950, 0), max: Date.UTC(9999, 0) }),
        (number, bytes, [root, second, rest], ms) => {
          assert.equal(
            value(integer(number), (reader) => readSmallInteger(reader, field)),
            number,
          );
          const hex = Buffer.from(bytes).toString("hex").toUpperCase();
          const serial = value(serialNumber(hex), (reader) => readSerialNumber(reader, field));
          assert.equal(serial, hex.replace(/^(00)+(?=..)/, ""));
          const dotted = [root, second, ...rest].join(".");
          assert.equal(
            value(objectIdentifier(dotted), (reader) => readObjectIdentifier(reader, field)),
            dotted,
          );
          assert.equal(
            value(time(ms), (reader) => readTime(reader, field)),
            Math.floor(ms / 1000) * 1000,
          );
          assert.deepEqual(
            value(bitString(bytes), (reader) => Uint8Array.from(readBitString(reader, field))),
            bytes,
          );
        },
      ),
    );
  });

  it("writes lengths in their shortest form, at every boundary", () => {
    const header = Buffer.alloc(8);
    assert.equal(writeHeader(header, 1, { tag: Tag.set, length: 300 }), 1 + headerBytes(300));
    assert.equal(header.toString("hex"), "0031 8201 2c00 0000".replaceAll(" ", ""));
    for (const length of [0, 127, 128, 255, 256, 65_535, 65_536, 16_777_216]) {
      const bytes = octetString(new Uint8Array(length));
      assert.equal(value(bytes, (reader) => readContent(reader, Tag.octetString, field)).length, length);
      assert.equal(value(bytes, (reader) => readElement(reader, -1, field)).length, bytes.length);
    }
  });

  it("is understood by openssl", { skip: noOpenssl }, () => {
    const bytes = sequence(
      integer(0x1234),
      serialNumber("80"),
      boolean(true),
      nullValue(),
      objectIdentifier("2.999.3"),
      setOf(octetString(Buffer.from("b")), octetString(Buffer.from("a"))),
      explicit(0, time(Date.UTC(2026, 0, 1)), generalizedTime(Date.UTC(2060, 0, 1))),
      ia5String("http://x/", contextPrimitiveTag(6)),
      enumerated(6),
    );
    const { stdout } = spawnSync("openssl", ["asn1parse", "-inform", "DER"], {
      input: bytes,
      encoding: "utf8",
    });
    const expected = [
      /INTEGER +:1234/,
      /INTEGER +:80/,
      /BOOLEAN +:255/,
      /NULL/,
      /OBJECT +:2\.999\.3/,
      /OCTET STRING +:a[^]*OCTET STRING +:b/,
      /cont \[ 0 \][^]*UTCTIME +:260101000000Z[^]*GENERALIZEDTIME +:20600101000000Z/,
      /cont \[ 6 \]/,
      /ENUMERATED +:06/,
    ];
    for (const pattern of expected) assert.match(stdout, pattern);
  });

  it("throws for a caller's mistake", () => {
    for (const mistake of [
      () => integer(-1),
      () => integer(0.5),
      () => serialNumber("abc"),
      () => enumerated(128),
      () => objectIdentifier("1"),
      () => objectIdentifier("1.40"),
      () => objectIdentifier("3.1"),
      () => ia5String("ü"),
      () => time(Number.NaN),
      () => contextTag(31),
    ]) {
      assert.throws(mistake, RangeError);
    }
  });
});

describe("PEM", () => {
  it("gives back every block of its label and nothing else (RFC 7468)", () => {
    const first = Buffer.from("first".repeat(20));
    const second = Buffer.from("second");
    const text = `words\n${toPem("A", first)}${toPem("B", second)}words${toPem("A", second)}`;
    assert.deepEqual(fromPem("A", text), [first, second]);
    assert.deepEqual(fromPem("A", text.replaceAll("\n", "\r\n")), [first, second]);
    assert.deepEqual(fromPem("C", text), []);
    assert.deepEqual(fromPem("A", "-----BEGIN A-----\n*\n-----END A-----\n-----BEGIN A-----\nAAAA"), []);
  });
});
