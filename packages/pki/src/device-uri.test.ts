import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { formatDeviceUri, isDeviceName, parseDeviceUri } from "./device-uri.ts";

describe("device URI", () => {
  it("is read back as it was written", () => {
    const uri = formatDeviceUri({ tenant: "plant-2", device: "press.7_b" });
    assert.equal(uri, "urn:iot:plant-2:press.7_b");
    assert.deepEqual(parseDeviceUri(uri), { tenant: "plant-2", device: "press.7_b" });
  });

  it("is not what has another shape", () => {
    for (const uri of [
      "",
      "urn:iot:a",
      "urn:iot:a:b:c",
      "urn:iot::b",
      "urn:iot:a:",
      "urn:dev:a:b",
      "URN:iot:a:b",
      "urn:iot:a:b/c",
    ]) {
      assert.equal(parseDeviceUri(uri), undefined, uri);
    }
  });

  it("takes only names that are safe in a file name, a topic and a log line", () => {
    for (const name of ["a", "A-1", "7", "a.b_c", "x".repeat(64)]) assert.ok(isDeviceName(name), name);
    for (const name of ["", ".a", "-a", "_a", "a b", "a\n", "a/b", "a+", "#", "x".repeat(65)])
      assert.ok(!isDeviceName(name), name);
    assert.throws(() => formatDeviceUri({ tenant: "a", device: "b:c" }), RangeError);
  });
});
