import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { eui64Bytes } from "@postern/zigbee/eui64";
import { joined } from "@postern/zigbee/security/mmo-hash";
import * as build from "@postern/zigbee/testing";

import {
  addressOf,
  audited,
  centre,
  data,
  device,
  deviceShort,
  found,
  own,
  pan,
} from "../testing/network.ts";

const { unhex } = build;
const panBytes = Uint8Array.of(pan & 0xff, pan >> 8);
const network = addressOf(0x99);

function request(index: number): Uint8Array {
  return build.macCommand(pan, addressOf(0x500 + index), unhex("018e"), index & 0xff);
}

function answer(index: number): Uint8Array {
  const addresses = joined(eui64Bytes(addressOf(0x500 + index)), eui64Bytes(centre));
  return joined(
    unhex("63cc"),
    Uint8Array.of(index & 0xff),
    panBytes,
    addresses,
    Uint8Array.of(2, index, 0x50, 0),
  );
}

function speaks(index: number): Uint8Array {
  return data({ from: addressOf(0x500 + index), source: 0x5000 + index });
}

/** Beacons that say whether joining is open, and a frame after each. */
function permissions(count: number, isOpen: (index: number) => boolean): Uint8Array[] {
  return Array.from({ length: count }, (_, index) => [
    build.beacon(pan, network, isOpen(index)),
    own(),
  ]).flat();
}

/** A NWK command of the coordinator to the device without protection. */
function plain(payload: Uint8Array): Uint8Array {
  return build.macData(
    { pan, destination: deviceShort, source: 0, macSequence: 1 },
    build.nwkFrame({ destination: deviceShort, source: 0, command: true }, payload),
  );
}

function ids(frames: readonly Uint8Array[], stepUs: number): Promise<string[]> {
  return audited(build.captured(frames, stepUs)).then(({ findings }) => findings.map(({ id }) => id));
}

const twenty = Array.from({ length: 20 }, (_, index) => index);

describe("many devices that ask to join", () => {
  it("are a flood at the pace of common tools, where nobody answers and where somebody does", async () => {
    const unanswered = twenty.map((index) => request(index));
    assert.deepEqual(await ids([own(), ...unanswered], 1_150_000), ["ZB-ASSOCIATION-FLOOD"]);
    const answered = twenty.flatMap((index) => [request(index), answer(index)]);
    assert.deepEqual(await ids([own(), ...answered], 600_000), ["ZB-ASSOCIATION-FLOOD"]);
  });

  it("are none when they speak afterwards, whether or not the sniffer heard the answer", async () => {
    const heard = twenty.flatMap((index) => [request(index), answer(index), speaks(index)]);
    assert.deepEqual(await ids(heard, 300_000), []);
    const unheard = twenty.flatMap((index) => [request(index), speaks(index)]);
    assert.deepEqual(await ids(unheard, 300_000), []);
  });
});

describe("beacons", () => {
  it("that say for longer than a permission lasts that joining is open are found", async () => {
    assert.deepEqual(
      await ids(
        permissions(30, () => true),
        15_000_000,
      ),
      ["ZB-PERMIT-JOIN"],
    );
    assert.deepEqual(
      await ids(
        permissions(30, (index) => index % 12 !== 0),
        15_000_000,
      ),
      [],
    );
    assert.deepEqual(
      await ids(
        permissions(4, () => true),
        400_000_000,
      ),
      [],
      "now and then, and nothing between",
    );
  });

  it("of one network under two PAN ids in turn are a trap, and one change of the PAN id is none", async () => {
    const other = [build.beacon(pan, network), build.beacon(pan + 1, network)];
    assert.deepEqual(await ids([own(), ...Array.from({ length: 6 }, () => other).flat()], 1_000_000), [
      "ZB-TRAP-NETWORK",
    ]);
    const moved = [own(), ...other, ...other.slice(1), ...other.slice(1)];
    assert.deepEqual(await ids(moved, 1_000_000), []);
  });

  it("that nobody asked for, again and again, are found, and answers to requests are not", async () => {
    const beacons = Array.from({ length: 40 }, () => build.beacon(pan, network, true));
    assert.deepEqual(await ids([own(), ...beacons], 100_000), ["ZB-TRAP-NETWORK"]);
    const asked = beacons.flatMap((beacon) => [unhex("030801ffffffff07"), beacon]);
    assert.deepEqual(await ids([own(), ...asked], 100_000), []);
  });
});

describe("coordinator realignments", () => {
  const orphan = joined(unhex("43c801 ffff ffff"), eui64Bytes(device), unhex("06"));
  const realignment = (toPan: number) =>
    joined(
      unhex("03cc02 ffff"),
      eui64Bytes(device),
      panBytes,
      eui64Bytes(centre),
      joined(unhex("08"), Uint8Array.of(toPan & 0xff, toPan >> 8), unhex("0000 0f 0b97")),
    );

  it("are no findings where an orphan, which names no network, is told where it is at home", async () => {
    assert.deepEqual(await found(build.captured([own(), orphan, realignment(pan)])), []);
  });

  it("are found where no orphan asked, and where the orphan is told to go elsewhere", async () => {
    assert.deepEqual(await found(build.captured([own(), realignment(pan)])), ["ZB-REALIGNMENT: 2"]);
    assert.deepEqual(await found(build.captured([own(), orphan, realignment(pan + 1)])), [
      "ZB-REALIGNMENT: 3",
    ]);
  });
});

describe("NWK commands without protection in a protected network", () => {
  it("are found, a leave when it tells a member to go", async () => {
    assert.deepEqual(await found(build.captured([own(), plain(unhex("03 0b 0b97"))])), [
      "ZB-UNSECURED-DATA: 2",
    ]);
    assert.deepEqual(await found(build.captured([data(), plain(unhex("0440"))])), ["ZB-UNSECURED-DATA: 2"]);
  });

  it("are what a parent says to a device that has no key yet", async () => {
    assert.deepEqual(await found(build.captured([own(), plain(unhex("0440"))])), []);
    assert.deepEqual(await found(build.captured([own(), plain(unhex("07 0b97 00"))])), []);
  });
});
