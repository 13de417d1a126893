import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { encodeConnack } from "@postern/mqtt/connack";
import { decodeConnect, encodeConnect } from "@postern/mqtt/connect";
import { createFrame, readFrame } from "@postern/mqtt/frame";
import type { ConnectPacket } from "@postern/mqtt/packets";

import { addressTold, withCredentials } from "./first-packets.ts";

const credentials = { username: "boiler", password: Buffer.from("secret") };
const pingreq = Buffer.from([0xc0, 0]);

function connect(changes: Partial<ConnectPacket> = {}): Buffer {
  const nothing = { username: undefined, password: undefined, will: undefined, properties: {} };
  return encodeConnect({
    protocolVersion: 4,
    cleanStart: true,
    keepAliveSeconds: 60,
    clientId: "node-red",
    ...nothing,
    ...changes,
  });
}

function packetIn(bytes: Buffer): ConnectPacket {
  const frame = createFrame();
  readFrame(bytes, 0, bytes.length, 65_536, frame);
  const decoded = decodeConnect(bytes, frame.bodyStart, frame.bodyEnd);
  assert.ok(decoded.kind === "value");
  return decoded.value;
}

describe("the first packet of a program in a tunnel", () => {
  const will = { topic: "a", payload: Buffer.from("gone"), qos: 1, retain: true, properties: {} } as const;

  for (const protocolVersion of [3, 4, 5] as const) {
    it(`gets user name and password where it gives none (level ${protocolVersion}), and what follows stays`, () => {
      const first = withCredentials(
        Buffer.concat([connect({ protocolVersion, will }), pingreq]),
        credentials,
      );
      assert.ok(first.kind === "ready");
      assert.equal(first.version, protocolVersion);
      const packet = packetIn(first.bytes);
      assert.equal(packet.username, "boiler");
      assert.equal(Buffer.from(packet.password ?? []).toString(), "secret");
      assert.equal(packet.clientId, "node-red");
      assert.equal(Buffer.from(packet.will?.payload ?? []).toString(), "gone");
      assert.deepEqual(first.bytes.subarray(-2), pingreq);
    });
  }

  it("passes as it is where it gives something, where there is nothing to give, and where it is no CONNECT", () => {
    for (const [bytes, given] of [
      [connect({ username: "me" }), credentials],
      [connect({ username: "me", password: Buffer.from("mine") }), credentials],
      [connect({ protocolVersion: 5, properties: { authenticationMethod: "SCRAM-SHA-256" } }), credentials],
      [connect(), undefined],
      [pingreq, credentials],
      [Buffer.from("GET / HTTP/1.1\r\n"), credentials],
      [Buffer.from([0x10, 0x02, 0x00, 0x00]), credentials],
      [Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]), credentials],
    ] as const) {
      const first = withCredentials(bytes, given);
      assert.ok(first.kind === "ready");
      assert.deepEqual(first.bytes, bytes);
    }
  });

  it("is waited for to its last byte", () => {
    const bytes = connect({ protocolVersion: 5 });
    for (let length = 0; length < bytes.length; length++)
      assert.equal(withCredentials(bytes.subarray(0, length), credentials).kind, "incomplete");
    assert.equal(withCredentials(bytes, credentials).kind, "ready");
  });
});

function told(properties: object): string | undefined {
  return addressTold(encodeConnack(5, { sessionPresent: false, reasonCode: 0, properties }));
}

describe("the first packet of a server in a tunnel", () => {
  it("tells the address that it sees, where it does", () => {
    assert.equal(
      told({
        userProperties: [
          ["a", "b"],
          ["postern-address", "203.0.113.7"],
        ],
      }),
      "203.0.113.7",
    );
    assert.equal(told({}), undefined);
    for (const bytes of [[], [0x20], [0x20, 2, 0, 0], [0xd0, 0]])
      assert.equal(addressTold(Buffer.from(bytes)), undefined);
  });
});
