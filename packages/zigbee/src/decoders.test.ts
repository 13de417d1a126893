import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { decodeApsCommand, KeyType } from "./aps/aps-command.ts";
import { decodeApsFrame } from "./aps/aps-frame.ts";
import { eui64At, eui64Bytes, parseEui64 } from "./eui64.ts";
import { decodeGreenPowerFrame } from "./green-power/green-power-frame.ts";
import { decodeBeacon } from "./mac/beacon.ts";
import { decodeMacCommand } from "./mac/mac-command.ts";
import { decodeMacFrame } from "./mac/mac-frame.ts";
import { decodeNwkCommand } from "./nwk/nwk-command.ts";
import { decodeNwkFrame } from "./nwk/nwk-frame.ts";
import { unhex } from "./testing.ts";
import { decodeTouchlinkCommand, touchlinkCommandName } from "./touchlink/touchlink-command.ts";
import { decodeZclAttributes, decodeZclFrame, zclCommandName } from "./zcl/zcl-frame.ts";
import { decodeZdpFrame, zdpName } from "./zdp/zdp-frame.ts";

const key = "000102030405060708090a0b0c0d0e0f";
const device = "00:15:8d:00:01:02:03:04";
const deviceBytes = "04030201008d1500";

function macCommand(bytes: string) {
  return decodeMacCommand(unhex(bytes), 0, bytes.length);
}

function zclName(cluster: number, bytes: string): string {
  return zclCommandName(cluster, decodeZclFrame(unhex(bytes)));
}

describe("extended addresses", () => {
  it("are written most significant byte first and stand least significant first", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 8, maxLength: 8 }), (bytes) => {
        const address = eui64At(bytes, 0);
        assert.deepEqual(eui64Bytes(address), bytes);
        assert.equal(parseEui64(address.replaceAll(":", "").toUpperCase()), address);
        assert.equal(eui64At(bytes, 0), address);
      }),
    );
    assert.equal(eui64At(unhex(deviceBytes), 0), device);
    assert.equal(parseEui64("00:15"), undefined);
  });
});

describe("MAC frames (IEEE 802.15.4-2006 §7.2)", () => {
  it("with PAN id compression have one PAN id", () => {
    const mac = decodeMacFrame(unhex("6188 05 621a 0b97 0000 aabb"));
    assert.deepEqual(
      [mac.frameType, mac.sequence, mac.destinationPan, mac.destinationShort, mac.sourcePan, mac.sourceShort],
      [1, 5, 0x1a62, 0x970b, 0x1a62, 0],
    );
    assert.deepEqual([mac.payloadStart, mac.payloadEnd, mac.acknowledgmentRequest], [9, 11, true]);
  });

  it("with extended addresses and without compression have two", () => {
    const mac = decodeMacFrame(unhex(`23c8 02 621a 0000 ffff ${deviceBytes} 01 80`));
    assert.deepEqual([mac.sourcePan, mac.source, mac.sourceShort], [0xffff, device, -1]);
  });

  it("with a key source have an auxiliary header that is as long as its mode says (§7.6.2)", () => {
    for (const [mode, length] of [0, 1, 5, 9].entries()) {
      const control = (5 | (mode << 3)).toString(16).padStart(2, "0");
      const mac = decodeMacFrame(
        unhex(`0998 01 ffff 0000 ffff 0000 ${control} 07000000 ${"ab".repeat(length)} cc`),
      );
      assert.deepEqual([mac.auxiliary?.frameCounter, mac.payloadStart], [7, 16 + length]);
      assert.equal(mac.auxiliary?.keyIndex, mode === 0 ? -1 : 0xab);
    }
  });

  const refused: readonly [bytes: string, reason: RegExp][] = [
    ["61", /ends within its frame control/],
    ["6188 05 62", /ends within its destination PAN/],
    ["6184 05 62", /addressing mode 1 is reserved/],
    ["61a8 05 62", /version 2 is not decoded/],
    ["0700 05 62", /frame type 7 is not decoded/],
    ["6988 05 621a 0b97 0000", /2003 is not decoded/],
  ];
  for (const [bytes, reason] of refused) {
    it(`stop at ${bytes} and say why`, () => {
      assert.match(decodeMacFrame(unhex(bytes)).stopped?.reason ?? "", reason);
    });
  }

  it("that are commands", () => {
    assert.equal(macCommand("0180").capability, 0x80);
    assert.deepEqual([macCommand("020b9701").shortAddress, macCommand("020b9701").status], [0x970b, 1]);
    assert.equal(macCommand("0302").reason, 2);
    const realignment = macCommand("08621a00000fffff");
    assert.deepEqual([realignment.pan, realignment.channel, realignment.shortAddress], [0x1a62, 15, 0xffff]);
    assert.match(macCommand("02").stopped?.reason ?? "", /short address/);
  });

  it("that are beacons of Zigbee (§3.6.7), of 2004 and of others", () => {
    const zigbee = decodeBeacon(unhex("ffcf 00 00 00 2284 dfdddddddddddddd ffffff 07"), 0, 99);
    assert.deepEqual([zigbee.associationPermit, zigbee.panCoordinator], [true, true]);
    assert.deepEqual(
      [zigbee.zigbee?.stackProfile, zigbee.zigbee?.protocolVersion, zigbee.zigbee?.updateId],
      [2, 2, 7],
    );
    assert.equal(decodeBeacon(unhex("ff4f 00 00 03 0102"), 0, 99).zigbee, undefined);
    assert.match(decodeBeacon(unhex("ff4f 00 07 03"), 0, 99).stopped?.reason ?? "", /pending addresses/);
  });
});

describe("NWK frames (Zigbee §3.3)", () => {
  it("with all optional fields", () => {
    const bytes = unhex(
      `481f 0000 0b97 1e 42 ${deviceBytes} ${deviceBytes} 05 02 01 1111 2222 28 65000000 ${deviceBytes} 03 aabbccdd`,
    );
    const nwk = decodeNwkFrame(bytes, 0, bytes.length);
    assert.equal(nwk.stopped, undefined);
    assert.deepEqual([nwk.destination, nwk.source, nwk.multicastControl], [device, device, 5]);
    assert.deepEqual(nwk.relays, [0x1111, 0x2222]);
    const { auxiliary } = nwk;
    assert.deepEqual(
      [auxiliary?.frameCounter, auxiliary?.source, auxiliary?.keySequence, auxiliary?.keyIdentifier],
      [0x65, device, 3, 1],
    );
    assert.deepEqual([nwk.payloadStart, nwk.payloadEnd], [bytes.length - 4, bytes.length]);
  });

  it("stop within a source route that is longer than the frame", () => {
    const nwk = decodeNwkFrame(unhex("4804 0000 0b97 1e 42 ff 01 1111"), 0, 99);
    assert.match(nwk.stopped?.reason ?? "", /source route/);
    assert.equal(nwk.sourceShort, 0x970b);
  });

  it("that are commands (§3.4)", () => {
    const leave = decodeNwkCommand(unhex("0460"));
    assert.ok(leave.kind === "leave" && leave.rejoin && leave.request && !leave.removeChildren);
    const report = decodeNwkCommand(unhex(`09 02 ${deviceBytes} 1111 2222`));
    assert.ok(report.kind === "network-report");
    assert.deepEqual(report.panIds, [0x1111, 0x2222]);
    const update = decodeNwkCommand(unhex(`0a 01 ${deviceBytes} 09 3333`));
    assert.ok(update.kind === "network-update");
    assert.deepEqual(update.panIds, [0x3333]);
    const response = decodeNwkCommand(unhex("07 0b97 00"));
    assert.ok(response.kind === "rejoin-response" && response.shortAddress === 0x970b);
    const links = decodeNwkCommand(unhex("0861 0b97 31"));
    assert.ok(links.kind === "link-status");
    assert.deepEqual(links.links, [{ address: 0x970b, incomingCost: 1, outgoingCost: 3 }]);
    assert.equal(decodeNwkCommand(unhex("0b00")).kind, "other");
  });
});

describe("APS frames (Zigbee §2.2.5)", () => {
  it("to endpoints, to groups, as acknowledgements and in parts", () => {
    const data = decodeApsFrame(unhex("40 01 0600 0401 02 09 aa"));
    assert.deepEqual(
      [
        data.destinationEndpoint,
        data.cluster,
        data.profile,
        data.sourceEndpoint,
        data.counter,
        data.payloadStart,
      ],
      [1, 6, 0x0104, 2, 9, 8],
    );
    const group = decodeApsFrame(unhex("0c 3412 0600 0401 02 09"));
    assert.deepEqual([group.group, group.destinationEndpoint, group.counter], [0x1234, -1, 9]);
    const commandAcknowledgment = decodeApsFrame(unhex("12 09"));
    assert.deepEqual([commandAcknowledgment.counter, commandAcknowledgment.cluster], [9, -1]);
    const part = decodeApsFrame(unhex("c0 01 0600 0401 02 09 01 05 aa"));
    assert.deepEqual([part.fragmentation, part.block, part.payloadStart], [1, 5, 10]);
  });

  it("that transport a key (§4.4.10.1)", () => {
    const network = decodeApsCommand(unhex(`05 01 ${key} 07 ${deviceBytes} ffffffffffffffff`));
    assert.ok(network.kind === "transport-key");
    assert.deepEqual([network.keyType, network.sequence, network.destination], [1, 7, device]);
    assert.deepEqual(network.key, unhex(key));
    const application = decodeApsCommand(unhex(`05 03 ${key} ${deviceBytes} 01`));
    assert.ok(application.kind === "transport-key" && application.keyType === KeyType.applicationLinkKey);
    assert.deepEqual([application.destination, application.stopped], [device, undefined]);
    const cut = decodeApsCommand(unhex("05 01 0001"));
    assert.ok(cut.kind === "transport-key" && cut.key.length === 0 && cut.stopped !== undefined);
  });

  it("that are other commands of the trust centre", () => {
    const kinds: readonly [bytes: string, kind: string][] = [
      [`01 ${deviceBytes} ${deviceBytes} ${key}`, "skke"],
      [`06 ${deviceBytes} 0b97 01`, "update-device"],
      [`07 ${deviceBytes}`, "remove-device"],
      ["08 04", "request-key"],
      ["09 01", "switch-key"],
      [`0e ${deviceBytes} aabb`, "tunnel"],
      [`0f 04 ${deviceBytes} ${key}`, "verify-key"],
      [`10 00 04 ${deviceBytes}`, "confirm-key"],
      ["0a 00", "other"],
    ];
    for (const [bytes, kind] of kinds) {
      const command = decodeApsCommand(unhex(bytes));
      assert.deepEqual([command.kind, command.stopped], [kind, undefined]);
    }
  });
});

describe("ZDP (Zigbee §2.4)", () => {
  it("decodes announcements, descriptors, addresses, joining and leaving", () => {
    const announce = decodeZdpFrame(0x0013, unhex(`01 0b97 ${deviceBytes} 8e`));
    assert.ok(announce.kind === "device-announce" && announce.capability === 0x8e);
    const node = decodeZdpFrame(0x8002, unhex("01 00 0b97 0240 8e 5f11"));
    assert.ok(node.kind === "node-descriptor" && node.logicalType === 2 && node.manufacturerCode === 0x115f);
    const found = decodeZdpFrame(0x8001, unhex(`01 00 ${deviceBytes} 0b97`));
    assert.ok(found.kind === "address-response" && found.address === device);
    const open = decodeZdpFrame(0x0036, unhex("01 3c 01"));
    assert.ok(open.kind === "permit-joining" && open.seconds === 60);
    assert.equal(decodeZdpFrame(0x0034, unhex(`01 ${deviceBytes} 00`)).kind, "leave-request");
    assert.deepEqual([zdpName(0x8036), zdpName(0x0013)], ["permit joining response", "device announce"]);
  });
});

describe("ZCL (§2.4, §2.5)", () => {
  it("names commands of clusters, of all clusters, of manufacturers and unknown ones", () => {
    assert.equal(zclName(0x0006, "01 05 02"), "On/Off: toggle");
    assert.equal(zclName(0x0500, "09 05 00 0100"), "IAS Zone: zone status change");
    assert.equal(zclName(0x0000, "00 05 00 0400"), "Basic: read attributes");
    assert.equal(zclName(0xfc00, "05 5f11 05 99"), "cluster 0xfc00: command 0x99");
    assert.equal(decodeZclFrame(unhex("05 5f11 05 99")).manufacturerCode, 0x115f);
  });

  it("lists attributes of reports and responses, and stops at a type that it does not know", () => {
    const report = decodeZclAttributes(0x0a, unhex("0000 29 6608 0400 42 03 616263"));
    assert.deepEqual(
      report.attributes.map(({ id, value }) => [id, Buffer.from(value).toString("hex")]),
      [
        [0, "6608"],
        [4, "03616263"],
      ],
    );
    const response = decodeZclAttributes(0x01, unhex("0000 00 20 05 0100 86"));
    assert.deepEqual(
      response.attributes.map(({ status }) => status),
      [0, 0x86],
    );
    const unknown = decodeZclAttributes(0x0a, unhex("0000 20 05 0100 48 00"));
    assert.equal(unknown.attributes.length, 1);
    assert.match(unknown.stopped?.reason ?? "", /data type 0x48/);
    assert.match(decodeZclAttributes(0x0a, unhex("0000 42 09 61")).stopped?.reason ?? "", /attribute value/);
  });
});

describe("Green Power and touchlink headers", () => {
  it("of Green Power (§A.1.4) with source id, with address, and without security", () => {
    const bytes = unhex("8c 30 01020304 05000000 22 aabbccdd");
    const frame = decodeGreenPowerFrame(bytes, 0, bytes.length);
    assert.deepEqual(
      [frame.sourceId, frame.securityLevel, frame.frameCounter, frame.payloadStart, frame.payloadEnd],
      [0x04030201, 2, 5, 10, 11],
    );
    // As Wireshark reads it: the address stands in the MAC header.
    const addressed = decodeGreenPowerFrame(unhex("8c 12 01 01000000 20 aabbccdd"), 0, 12);
    assert.deepEqual([addressed.endpoint, addressed.frameCounter, addressed.command], [1, 1, 0x20]);
    const short = decodeGreenPowerFrame(unhex("8c 08 78563412 20 aabb"), 0, 9);
    assert.deepEqual([short.sourceId, short.payloadEnd - short.payloadStart], [0x12345678, 1]);
    assert.match(decodeGreenPowerFrame(unhex("0c 01"), 0, 2).stopped?.reason ?? "", /source id/);
  });

  it("of touchlink (ZCL §13.3)", () => {
    const scan = unhex("1980013f10aa2a0005811000fa193b56adbe51485bbbb3e10019b76affff010001040120020200");
    const response = decodeTouchlinkCommand(scan, 0, scan.length);
    assert.deepEqual(
      [response.transactionId, response.responseId, response.keyBitmask, touchlinkCommandName(response.id)],
      [0x2aaa103f, 0x563b19fa, 0x0010, "scan response"],
    );
    const start = unhex(`11 01 10 01000000 ${deviceBytes} ${deviceBytes} 04 ${key} 00 0f`);
    const request = decodeTouchlinkCommand(start, 0, start.length);
    assert.deepEqual([request.keyIndex, request.encryptedKey, request.extendedPan], [4, unhex(key), device]);
  });
});
