import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { TLSSocket } from "node:tls";

import { auditText } from "../support/audit.ts";
import { configured } from "../support/configurations.ts";
import { scratch, up, type Scratch, type TestServer } from "../support/postern.ts";
import { connectMqtt, portOf, secured } from "../support/raw.ts";

const config = `
listeners:
  - url: mqtts://127.0.0.1:0
limits: { takeOversPerMinuteMax: 4 }
metrics: { url: off }
`;

const connectionRateExceeded = 0x9f;
const serverUnavailable = 3;
const pingreq = Buffer.of(0xc0, 0);

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

async function open(): Promise<TLSSocket> {
  return secured(server.data, portOf(server.urls[0]));
}

async function answersPing(socket: TLSSocket): Promise<boolean> {
  const answer = new Promise<boolean>((resolve) => {
    socket.once("data", (bytes: Buffer) => resolve(bytes[0] === 0xd0));
    socket.once("close", () => resolve(false));
  });
  socket.write(pingreq);
  return answer;
}

for (const version of [4, 5] as const) {
  describe(`attack 47: two that take one client id from each other (MQTT ${version})`, () => {
    it("are stopped after the limit: the newcomer is refused, the one that is connected stays", async () => {
      const clientId = `flapping-${version}`;
      const opened: TLSSocket[] = [];
      const codes: (number | undefined)[] = [];
      for (let count = 0; count < 8; count += 1) {
        const socket = await open();
        opened.push(socket);
        codes.push(await connectMqtt(socket, clientId, version));
      }
      const refused = version === 5 ? connectionRateExceeded : serverUnavailable;
      assert.deepEqual(codes, [0, 0, 0, 0, 0, refused, refused, refused]);
      const [, , , , last] = opened;
      assert.ok(last !== undefined && (await answersPing(last)), "the fifth is still connected");
      assert.match(auditText(server.data) + (await auditSoon()), /takeOversPerMinuteMax/);
      for (const socket of opened) socket.destroy();
    });
  });
}

/** The audit log is written a moment later. */
async function auditSoon(): Promise<string> {
  await new Promise((resolve) => setTimeout(resolve, 300));
  return auditText(server.data);
}

describe("attack 47: a device that lost its connection", () => {
  it("takes its client id back from the connection that the server still believes in", async () => {
    const before = await open();
    assert.equal(await connectMqtt(before, "lost"), 0);
    before.pause();
    const again = await open();
    assert.equal(await connectMqtt(again, "lost"), 0);
    assert.ok(await answersPing(again));
    before.destroy();
    again.destroy();
  });

  it("is not counted when the server knew that it had gone, however often it comes", async () => {
    for (let count = 0; count < 10; count += 1) {
      const socket = await open();
      assert.equal(await connectMqtt(socket, "polite"), 0, `visit ${count}`);
      const closed = new Promise((resolve) => socket.once("close", resolve));
      socket.end(Buffer.of(0xe0, 0));
      socket.resume();
      await closed;
    }
  });
});
