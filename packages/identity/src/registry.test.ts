import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import { openDataDirectory } from "./data-directory.ts";
import { PkiFileError } from "./errors.ts";
import { DeviceRegistry, type Device } from "./registry.ts";
import { temporaryDataDirectory } from "./testing.ts";

const fingerprint = (byte: string): string => Array.from({ length: 32 }, () => byte).join(":");

function device(name: string, ...certificates: string[]): Device {
  return {
    name,
    tenant: "default",
    created: "2027-01-01T00:00:00.000Z",
    certificates: certificates.map((byte) => ({
      fingerprint: fingerprint(byte),
      serialNumber: "7F",
      notAfter: "2028-01-01T00:00:00.000Z",
    })),
  };
}

describe("device registry", () => {
  it("finds devices by each of their certificates, also after it is read again", () => {
    using temporary = temporaryDataDirectory();
    const path = join(openDataDirectory(temporary.directory.path).path, "devices.json");
    const registry = new DeviceRegistry(path);
    assert.ok(!registry.exists);
    registry.put(device("b", "BB"));
    registry.put(device("a", "AA", "A1"));
    for (const read of [registry, new DeviceRegistry(path)]) {
      assert.ok(read.exists);
      assert.deepEqual(
        read.devices.map(({ name }) => name),
        ["a", "b"],
      );
      assert.equal(read.findByFingerprint(fingerprint("A1"))?.name, "a");
      assert.equal(read.findByFingerprint(fingerprint("CC")), undefined);
      assert.equal(read.find("c"), undefined);
    }
  });

  it("forgets the certificates of a device that is replaced or removed, not its name", () => {
    using temporary = temporaryDataDirectory();
    const path = join(openDataDirectory(temporary.directory.path).path, "devices.json");
    const registry = new DeviceRegistry(path);
    registry.put(device("a", "AA"));
    registry.put(device("a", "A1"));
    assert.equal(registry.findByFingerprint(fingerprint("AA")), undefined);
    registry.put({ ...device("a", "A1"), removed: "2027-01-02T00:00:00.000Z" });
    assert.equal(registry.findByFingerprint(fingerprint("A1")), undefined);
    assert.equal(registry.find("a")?.name, "a");
  });

  it("keeps what it knows when the file has become unreadable", () => {
    using temporary = temporaryDataDirectory();
    const path = join(openDataDirectory(temporary.directory.path).path, "devices.json");
    const registry = new DeviceRegistry(path);
    registry.put(device("a", "AA"));
    for (const text of [
      "",
      "{}",
      '{"postern":2,"devices":[]}',
      '{"postern":1,"devices":[{"name":"../x"}]}',
    ]) {
      writeFileSync(path, text);
      assert.throws(() => registry.reload(), PkiFileError, text);
      assert.equal(registry.findByFingerprint(fingerprint("AA"))?.name, "a");
    }
  });
});
