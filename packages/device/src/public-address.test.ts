import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";

import { parseIpAddress, type IpAddress } from "@postern/knock/ip-address";

import { PublicAddress } from "./public-address.ts";

function temporaryDirectory(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), "postern-address-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

function ip(text: string): IpAddress {
  const address = parseIpAddress(text);
  assert.ok(address !== undefined);
  return address;
}

const [home, office, seen] = [ip("192.168.1.6"), ip("10.0.0.6"), ip("203.0.113.7")];

describe("the address that a device is seen from", () => {
  it("is remembered by the address that it has itself, also by the next program, for the owner's eyes", () => {
    using directory = temporaryDirectory();
    const bundle = join(directory.path, "pump.json");
    new PublicAddress(bundle).learn(home, seen);
    const next = new PublicAddress(bundle);
    assert.equal(next.of(home), seen);
    assert.equal(next.of(office), undefined);
    assert.equal(statSync(`${bundle}.address`).mode & 0o777, 0o600);
  });

  it("is forgotten when it is the device's own, and nothing is written for what is known", () => {
    using directory = temporaryDirectory();
    const bundle = join(directory.path, "pump.json");
    const address = new PublicAddress(bundle);
    address.learn(home, home);
    assert.throws(() => statSync(`${bundle}.address`));
    address.learn(home, seen);
    address.learn(home, home);
    assert.equal(new PublicAddress(bundle).of(home), undefined);
  });

  it("is of 16 networks, the last, and lasts as long as the program where nothing can be written", () => {
    using directory = temporaryDirectory();
    const bundle = join(directory.path, "pump.json");
    const address = new PublicAddress(bundle);
    for (let index = 1; index <= 20; index++) address.learn(ip(`10.0.0.${index}`), seen);
    assert.equal(Object.keys(JSON.parse(readFileSync(`${bundle}.address`, "utf8")).seen).length, 16);
    assert.equal(address.of(ip("10.0.0.4")), undefined);
    assert.equal(address.of(ip("10.0.0.20")), seen);
    const nowhere = new PublicAddress(join(directory.path, "missing", "pump.json"));
    nowhere.learn(home, seen);
    assert.equal(nowhere.of(home), seen);
    const inMemory = new PublicAddress(undefined);
    inMemory.learn(home, seen);
    assert.equal(inMemory.of(home), seen);
  });

  it("is nothing where the file is damaged", () => {
    using directory = temporaryDirectory();
    const bundle = join(directory.path, "pump.json");
    for (const text of ["", "{", "[]", '{"postern":2,"seen":{}}', '{"postern":1,"seen":{"x":"y"}}']) {
      writeFileSync(`${bundle}.address`, text);
      const address = new PublicAddress(bundle);
      assert.equal(address.of(home), undefined);
      address.learn(home, seen);
      assert.equal(new PublicAddress(bundle).of(home), seen);
    }
  });
});
