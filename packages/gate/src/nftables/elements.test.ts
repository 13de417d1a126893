import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { parseIpAddress, parseIpSource } from "@postern/knock/ip-address";
import * as fc from "fast-check";

import { address, source } from "../testing/firewall-suite.ts";
import {
  banElement,
  dropCommands,
  openingElement,
  openingOfKey,
  putCommands,
  sourceOfKey,
} from "./elements.ts";

describe("elements of the firewall's sets", () => {
  it("stand in the set of their family, with or without a source port", () => {
    const port = 8883;
    assert.deepEqual(openingElement({ source: address("10.0.0.1"), sourcePort: 0, port }), {
      set: "windows4",
      text: "10.0.0.1 . 8883",
    });
    assert.deepEqual(openingElement({ source: address("fd00::1"), sourcePort: 5, port }), {
      set: "exact_windows6",
      text: "fd00::1 . 5 . 8883",
    });
    assert.deepEqual(banElement(source("10.0.0.1")), { set: "bans4", text: "10.0.0.1" });
    assert.deepEqual(banElement(source("fd00::1")), { set: "bans6", text: "fd00::" });
  });

  it("never put anything but addresses, ports and times into a command", () => {
    fc.assert(
      fc.property(fc.string(), fc.double(), fc.double(), fc.double(), (text, sourcePort, port, ms) => {
        const from = parseIpAddress(text);
        const banned = parseIpSource(text);
        if (banned !== undefined) assert.match(banElement(banned).text, /^[0-9a-f.:]+$/);
        if (from === undefined) return;
        try {
          const element = openingElement({ source: from, sourcePort, port });
          assert.match(putCommands(element, ms), /^[\w .:{}\n]+$/);
          assert.match(dropCommands(element), /^[\w .:{}\n]+$/);
        } catch (thrown) {
          assert.ok(thrown instanceof RangeError);
        }
      }),
    );
  });

  it("refuse times that an element cannot live", () => {
    const element = banElement(source("10.0.0.1"));
    for (const ms of [0, -1, Number.NaN, Infinity, 2 ** 31]) {
      assert.throws(() => putCommands(element, ms), RangeError, String(ms));
    }
  });

  it("are read from any key without a throw", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        openingOfKey(Buffer.from(bytes));
        sourceOfKey(Buffer.from(bytes));
      }),
    );
  });
});
