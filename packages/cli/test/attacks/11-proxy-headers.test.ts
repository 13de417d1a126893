import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { WebSocket } from "ws";

import { audited, auditText } from "../support/audit.ts";
import { configured } from "../support/configurations.ts";
import { scratch, up, type Scratch, type TestServer } from "../support/postern.ts";
import { connectBytes, portOf, sendPlain } from "../support/raw.ts";

const config = `
listeners:
  - url: mqtt://127.0.0.1:0
    anonymous: true
    name: plain
  - url: ws://127.0.0.1:0
    anonymous: true
    name: web
  - url: mqtts://127.0.0.1:0
    name: tls
metrics: { url: off }
`;

const liar = "203.0.113.66";
const proxy1 = `PROXY TCP4 ${liar} 192.0.2.1 56324 1883\r\n`;
/** @see the PROXY protocol, version 2, section 2.2: signature, PROXY over TCP4, twelve bytes of addresses */
const proxy2 = Buffer.from(
  "0d0a0d0a000d0a515549540a2111000ccb007142c0000201dc0407 5b".replaceAll(" ", ""),
  "hex",
);

let directory: Scratch;
let server: TestServer;

before(async () => {
  directory = scratch();
  server = await up(configured(directory.path, config));
});

after(async () => {
  await server[Symbol.asyncDispose]();
  directory[Symbol.dispose]();
});

describe("attack 11: an address that only the client claims", () => {
  for (const [name, header] of [
    ["version 1", proxy1],
    ["version 2", proxy2],
  ] as const) {
    it(`is not taken from the PROXY protocol, ${name}: what begins with it is not MQTT and not TLS`, async () => {
      for (const index of [0, 2]) {
        const { received, error } = await sendPlain(
          portOf(server.urls[index]),
          header,
          connectBytes("proxied"),
        );
        assert.notEqual(error, "still open");
        assert.ok(received.length === 0 || received[0] === 0x15, received.toString("hex"));
      }
      assert.doesNotMatch(auditText(server.data), new RegExp(`${liar}|proxied`));
    });
  }

  it("is not taken from HTTP headers: the connection is served, and known by where it really came from", async () => {
    const socket = new WebSocket(server.urls[1] ?? "", ["mqtt"], {
      headers: {
        "X-Forwarded-For": liar,
        "X-Real-IP": liar,
        Forwarded: `for=${liar}`,
        "X-Client-Cert": "-----BEGIN CERTIFICATE-----",
      },
    });
    await new Promise((resolve) => socket.once("open", resolve));
    const answer = new Promise<Buffer>((resolve) => socket.once("message", (data: Buffer) => resolve(data)));
    socket.send(connectBytes("behind-a-header"));
    assert.equal((await answer)[3], 0);
    socket.close();
    const connected = await audited(server.data, ({ clientId }) => clientId === "behind-a-header");
    assert.equal(connected["address"], "127.0.0.1");
    assert.doesNotMatch(auditText(server.data), new RegExp(liar));
  });
});
