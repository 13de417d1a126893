import assert from "node:assert/strict";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { crc32 } from "node:zlib";

import { openDataDirectory } from "./data-directory.ts";
import { newDevice, type Device } from "./device.ts";
import { PkiFileError } from "./errors.ts";
import { DeviceRegistry, type DeviceChange } from "./registry.ts";
import { temporaryDataDirectory } from "./testing.ts";

const startMs = Date.UTC(2027, 0, 1);
const fingerprint = (byte: string): string => Array.from({ length: 32 }, () => byte).join(":");

function device(name: string, ...certificates: string[]): Device {
  return {
    ...newDevice({ name, tenant: "default", roles: ["device"] }, startMs),
    certificates: certificates.map((byte) => ({
      fingerprint: fingerprint(byte),
      serialNumber: byte,
      notAfter: "2028-01-01T00:00:00.000Z",
    })),
  };
}

/** 64 hexadecimal digits of its own for each device. */
function mark(index: number): string {
  return index.toString(16).toUpperCase().padStart(64, "0");
}

function prepare() {
  const temporary = temporaryDataDirectory();
  const directory = openDataDirectory(temporary.directory.path).path;
  return {
    path: join(directory, "devices.jsonl"),
    former: join(directory, "devices.json"),
    [Symbol.dispose]: () => temporary[Symbol.dispose](),
  };
}

function names(registry: DeviceRegistry): string[] {
  return Array.from(registry.all(), ({ name }) => name).sort();
}

describe("device registry", () => {
  it("finds devices by all they are known by, also after it is read again", () => {
    using place = prepare();
    using registry = new DeviceRegistry(place.path);
    assert.ok(!registry.exists);
    registry.put({ ...device("b", "BB"), psk: { identity: "b", key: "a2V5" } });
    registry.putAll([device("a", "AA", "A1"), device("c")]);
    for (const read of [registry, new DeviceRegistry(place.path)]) {
      assert.ok(read.exists);
      assert.deepEqual(names(read), ["a", "b", "c"]);
      assert.equal(read.count, 3);
      assert.equal(read.findByFingerprint(fingerprint("A1"))?.device.name, "a");
      assert.equal(read.findBySerialNumber("AA")?.certificate.fingerprint, fingerprint("AA"));
      assert.equal(read.findByPskIdentity("b")?.name, "b");
      assert.equal(read.findByFingerprint(fingerprint("CC")), undefined);
      assert.equal(read.findByPskIdentity("a"), undefined);
      assert.equal(read.find("d"), undefined);
    }
  });

  it("finds devices by the keys of their certificates, and gives a key to one device only", () => {
    using place = prepare();
    using registry = new DeviceRegistry(place.path);
    const keyId = "ab".repeat(32);
    const withKey = (name: string, byte: string): Device => ({
      ...device(name),
      certificates: [
        { fingerprint: fingerprint(byte), serialNumber: byte, notAfter: "2028-01-01T00:00:00.000Z", keyId },
      ],
    });
    registry.put(withKey("a", "AA"));
    assert.throws(() => registry.put(withKey("b", "BB")), /cannot have what "a" is known by/);
    registry.close();
    using read = new DeviceRegistry(place.path);
    assert.equal(read.findByKeyId(keyId)?.device.name, "a");
    read.put(device("a", "AA"));
    assert.equal(read.findByKeyId(keyId), undefined);
    read.put(withKey("b", "BB"));
  });

  it("is a file for its owner alone", () => {
    using place = prepare();
    using registry = new DeviceRegistry(place.path);
    registry.put(device("a"));
    assert.equal(statSync(place.path).mode & 0o777, 0o600);
    chmodSync(place.path, 0o640);
    assert.throws(() => new DeviceRegistry(place.path), /open to other users \(mode 0640\): run chmod 600/);
  });

  it("forgets what a device is no longer known by, and keeps the name of a removed one", () => {
    using place = prepare();
    using registry = new DeviceRegistry(place.path);
    registry.put({ ...device("a", "AA"), psk: { identity: "a", key: "a2V5" } });
    registry.put(device("a", "A1"));
    assert.equal(registry.findByFingerprint(fingerprint("AA")), undefined);
    assert.equal(registry.findBySerialNumber("AA"), undefined);
    assert.equal(registry.findByPskIdentity("a"), undefined);
    registry.change("a", (found) => ({ ...found, removed: "2027-01-02T00:00:00.000Z" }));
    assert.equal(registry.find("a")?.removed, "2027-01-02T00:00:00.000Z");
  });

  it("tells of each change once it is on disk", () => {
    using place = prepare();
    using registry = new DeviceRegistry(place.path);
    const told: (readonly DeviceChange[])[] = [];
    const listening = registry.onChange((changes) => {
      assert.match(readFileSync(place.path, "utf8"), new RegExp(`"name":"${changes[0]?.after.name ?? ""}"`));
      told.push(changes);
    });
    registry.put(device("a"));
    const after = registry.change("a", (found) => ({ ...found, roles: ["observer"] }));
    listening[Symbol.dispose]();
    registry.put(device("b"));
    assert.deepEqual(told, [[{ before: undefined, after: device("a") }], [{ before: device("a"), after }]]);
  });

  it("refuses what cannot be, and changes nothing", () => {
    using place = prepare();
    using registry = new DeviceRegistry(place.path);
    registry.put({ ...device("a", "AA"), psk: { identity: "a", key: "a2V5" } });
    const before = readFileSync(place.path, "utf8");
    const wrong: readonly Device[] = [
      device("../x"),
      { ...device("b"), roles: ["+/#"] },
      { ...device("b"), created: "yesterday" },
      { ...device("b"), knockKeyVersion: 0 },
      device("b", "AA"),
      { ...device("b"), psk: { identity: "a", key: "a2V5" } },
    ];
    for (const bad of wrong) {
      assert.throws(() => registry.putAll([device("c"), bad]), RangeError);
      assert.deepEqual(names(registry), ["a"]);
    }
    assert.throws(() => registry.change("d", (found) => found), /there is no device "d"/);
    assert.throws(() => registry.change("a", (found) => ({ ...found, name: "d" })), RangeError);
    assert.equal(readFileSync(place.path, "utf8"), before);
  });

  it("cuts off what a crash left of the last change, at whatever byte, and goes on", () => {
    using place = prepare();
    {
      using registry = new DeviceRegistry(place.path);
      registry.put(device("a", "AA"));
      registry.putAll([device("b"), device("c")]);
    }
    const whole = readFileSync(place.path);
    const lastStart = whole.lastIndexOf("\n", whole.length - 2) + 1;
    for (let bytes = lastStart; bytes < whole.length; bytes += 23) {
      writeFileSync(place.path, whole);
      truncateSync(place.path, bytes);
      using registry = new DeviceRegistry(place.path);
      assert.deepEqual(names(registry), ["a"], `${bytes} bytes`);
      assert.equal(statSync(place.path).size, lastStart);
      registry.put(device("d"));
      using again = new DeviceRegistry(place.path);
      assert.deepEqual(names(again), ["a", "d"], `${bytes} bytes`);
    }
    // A block of it that never came to the disk.
    writeFileSync(place.path, whole.fill(0, lastStart + 20, lastStart + 60));
    using registry = new DeviceRegistry(place.path);
    assert.deepEqual(names(registry), ["a"]);
  });

  it("refuses a file with any other damage, naming the line, and leaves it as it is", () => {
    using place = prepare();
    {
      using registry = new DeviceRegistry(place.path);
      for (const name of ["a", "b", "c"]) registry.put(device(name));
    }
    const whole = readFileSync(place.path, "utf8");
    const lines = whole.split("\n");
    const damages: readonly (readonly [string, RegExp])[] = [
      ["", /in line 1 \(it is empty\)/],
      ["{}", /in line 1 \(the checksum does not fit\)/],
      [whole.replace(`"name":"b"`, `"name":"x"`), /in line 3 \(the checksum does not fit\)/],
      [whole.replace(`"name":"c"`, `"name":"x"`), /in line 4 \(the checksum does not fit\)/],
      [whole.replace(`"name":"b"`, `"name":"\u0000"`), /in line 3/],
      [lines.slice(1).join("\n"), /in line 1 \(it is not \{"postern":1,"file":"devices"\}/],
      [`${lines[0] ?? ""}\n\n${lines[1] ?? ""}\n`, /in line 2/],
      [`${whole}7a0c2b1a {"put":[{}]}\n`, /in line 5/],
    ];
    for (const [text, message] of damages) {
      writeFileSync(place.path, text);
      assert.throws(
        () => new DeviceRegistry(place.path),
        (thrown) => {
          assert.ok(thrown instanceof PkiFileError);
          assert.match(thrown.message, message);
          return true;
        },
      );
      assert.equal(readFileSync(place.path, "utf8"), text);
    }
  });

  it("refuses an entry that is whole but not one this version knows", () => {
    using place = prepare();
    {
      using registry = new DeviceRegistry(place.path);
      registry.put(device("a"));
    }
    const json = `{"put":[{"name":"b"}]}`;
    appendFileSync(place.path, `${crc32(json).toString(16).padStart(8, "0")} ${json}\n`);
    assert.throws(() => new DeviceRegistry(place.path), /in line 3 \("put\.0\.tenant"/);
  });

  it("takes over the file of former versions, whose devices could do everything", () => {
    using place = prepare();
    const certificates = device("a", "AA").certificates;
    const former = { name: "a", tenant: "default", created: "2027-01-01T00:00:00.000Z", certificates };
    writeFileSync(place.former, JSON.stringify({ postern: 1, devices: [former] }));
    for (let start = 0; start < 2; start += 1) {
      using registry = new DeviceRegistry(place.path);
      assert.deepEqual(registry.find("a"), {
        ...former,
        roles: ["administrator"],
        groups: [],
        knockKeyVersion: 1,
        tokens: [],
      });
      assert.ok(!existsSync(place.former));
    }
  });

  it("refuses a damaged file of former versions, and leaves it as it is", () => {
    for (const text of [
      "",
      "{}",
      '{"postern":2,"devices":[]}',
      '{"postern":1,"devices":[{"name":"../x"}]}',
    ]) {
      using place = prepare();
      writeFileSync(place.former, text);
      assert.throws(() => new DeviceRegistry(place.path), /devices\.json, the list of devices, is damaged/);
      assert.equal(readFileSync(place.former, "utf8"), text);
      assert.ok(!existsSync(place.path));
    }
  });

  it("drops from the file what newer lines replaced, when it is opened", () => {
    using place = prepare();
    {
      using registry = new DeviceRegistry(place.path);
      for (let count = 0; count < 5; count += 1) registry.put(device("a"));
      registry.put(device("b"));
      registry.compact();
    }
    assert.equal(readFileSync(place.path, "utf8").split("\n").length, 8);
    {
      using registry = new DeviceRegistry(place.path);
      registry.put(device("c"));
    }
    assert.equal(readFileSync(place.path, "utf8").split("\n").length, 5);
    using registry = new DeviceRegistry(place.path);
    assert.deepEqual(names(registry), ["a", "b", "c"]);
  });

  it("serves 100,000 devices, and adding one costs a line however many there are", () => {
    using place = prepare();
    const count = 100_000;
    const many = Array.from({ length: count }, (_, index): Device => ({
      ...newDevice({ name: `device-${index}`, tenant: "default", roles: ["device"] }, startMs),
      certificates: [
        {
          fingerprint: mark(index).replace(/..(?=.)/g, "$&:"),
          serialNumber: mark(index).slice(32),
          notAfter: "2028-01-01T00:00:00.000Z",
        },
      ],
    }));
    {
      using registry = new DeviceRegistry(place.path);
      registry.putAll(many);
    }
    const started = performance.now();
    using registry = new DeviceRegistry(place.path);
    const loadMs = performance.now() - started;
    assert.equal(registry.count, count);
    const bytes = statSync(place.path).size;
    const adds = 20;
    const adding = performance.now();
    for (let index = 0; index < adds; index += 1) registry.put(device(`more-${index}`));
    const addMs = (performance.now() - adding) / adds;
    assert.ok(statSync(place.path).size - bytes < adds * 1_000);
    assert.equal(registry.findBySerialNumber(mark(99_999).slice(32))?.device.name, "device-99999");
    // Far above what it takes (0.7 s and 1 ms where it was written), for machines that are busy.
    assert.ok(loadMs < 15_000 && addMs < 200, `load ${loadMs} ms, add ${addMs} ms`);
  });

  it("changes nothing when it is only looked at, while another process may have it open", () => {
    using place = prepare();
    using registry = new DeviceRegistry(place.path);
    for (let count = 0; count < 5; count += 1) registry.put(device("a"));
    appendFileSync(place.path, "00");
    writeFileSync(`${place.path}.tmp`, "");
    const before = readFileSync(place.path, "utf8");
    using looked = new DeviceRegistry(place.path, { readOnly: true });
    assert.deepEqual(names(looked), ["a"]);
    assert.equal(readFileSync(place.path, "utf8"), before);
    assert.ok(existsSync(`${place.path}.tmp`));
    assert.throws(() => looked.put(device("b")), /only read/);
  });

  it("can be changed no more once it was closed", () => {
    using place = prepare();
    const registry = new DeviceRegistry(place.path);
    registry.put(device("a"));
    registry.close();
    assert.throws(() => registry.put(device("b")), /closed/);
    using again = new DeviceRegistry(place.path);
    assert.deepEqual(names(again), ["a"]);
  });
});
