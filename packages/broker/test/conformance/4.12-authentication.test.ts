import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { AuthenticationExchange, Authenticator } from "../../src/ports.ts";
import { utf8 } from "../support/bytes.ts";
import { anonymous } from "../support/in-process.ts";
import * as packets from "../support/packets.ts";
import { property } from "../support/packets.ts";
import type { RawClient } from "../support/raw-client.ts";
import { Broker, unique } from "../support/target.ts";

/** Sections 3.15 and 4.12: AUTH and enhanced authentication, with a method that asks one question. */
const method = "QUESTION";
const question = utf8("who is there?");

function questionExchange(): AuthenticationExchange {
  let asked = false;
  return {
    next: async (data) => {
      if (!asked) {
        asked = true;
        return { kind: "continue", data: question };
      }
      const answer = data === undefined ? "" : Buffer.from(data).toString("utf8");
      if (answer === "a friend") return { ...anonymous, data: utf8("welcome") };
      return { kind: "refused", reasonCode: 0x87, reason: "not a friend" };
    },
  };
}

/** Lets everybody in who does not say otherwise with the user name. */
const authenticator: Authenticator = {
  authenticate: async ({ username }) => {
    if (username === "broken") throw new Error("the authenticator is out of order");
    if (username === "nobody") return { kind: "refused", reasonCode: 0x86, reason: "not known" };
    return anonymous;
  },
  exchange: (name) => (name === method ? questionExchange() : undefined),
};
const broker = new Broker({ authenticator });

function answer(text: string, reasonCode = 0x18, name = method): Uint8Array {
  return packets.auth(reasonCode, [property.authenticationMethod(name), property.authenticationData(text)]);
}

/** A client that has sent CONNECT with the method and was asked. */
async function asked(properties: readonly Uint8Array[] = [], packetBytesMax?: number): Promise<RawClient> {
  const client = await broker.open(5, "plain", packetBytesMax);
  const all = [property.authenticationMethod(method), ...properties];
  client.send(packets.connect(5, { clientId: unique("c"), properties: all }));
  const auth = await client.expect("auth");
  assert.equal(auth.reasonCode, 0x18);
  assert.equal(auth.properties.authenticationMethod, method);
  assert.deepEqual([...(auth.properties.authenticationData ?? [])], [...question]);
  return client;
}

async function letIn(): Promise<RawClient> {
  const client = await asked();
  client.send(answer("a friend"));
  const connack = await client.expect("connack");
  assert.equal(connack.reasonCode, 0);
  assert.equal(connack.properties.authenticationMethod, method);
  assert.deepEqual([...(connack.properties.authenticationData ?? [])], [...utf8("welcome")]);
  return client;
}

describe("MQTT 5.0", { concurrency: true }, () => {
  it("[MQTT-4.12.0-1] refuses a method it does not know with 0x8C, and closes", async () => {
    await using client = await broker.open(5);
    const properties = [property.authenticationMethod("NO-SUCH-METHOD")];
    client.send(packets.connect(5, { clientId: unique("c"), properties }));
    await broker.expectNotConnected(client, 0x8c);
  });

  it("[MQTT-4.12.0-2] [MQTT-4.12.0-3] [MQTT-4.12.0-5] [MQTT-3.15.2-1] asks with AUTH 0x18 and the method, and lets in who answers well", async () => {
    await using client = await letIn();
    await client.ping();
  });

  it("[MQTT-4.12.0-4] refuses who answers badly, and closes", async () => {
    await using client = await asked();
    client.send(answer("a foe"));
    await broker.expectNotConnected(client, 0x87);
  });

  it("[MQTT-3.1.2-30] closes the connection on anything but AUTH and DISCONNECT before CONNACK", async () => {
    for (const bytes of [
      packets.pingreq,
      packets.publish(5, { topic: unique("t") }),
      packets.subscribe(5, 1, [["a", 0]]),
      packets.connect(5, { clientId: unique("c") }),
    ]) {
      await using client = await asked();
      client.send(bytes);
      await broker.expectNotConnected(client, 0x82);
    }
  });

  it("closes the connection on DISCONNECT before CONNACK", async () => {
    await using client = await asked();
    client.send(packets.disconnect());
    await client.expectClosed();
  });

  it("[MQTT-4.12.0-5] closes the connection on AUTH with another method, or none", async () => {
    for (const bytes of [answer("a friend", 0x18, "OTHER"), packets.auth(0x18, [])]) {
      await using client = await asked();
      client.send(bytes);
      await broker.expectNotConnected(client, 0x82, 0x8c);
    }
  });

  it("[MQTT-4.12.0-6] sends neither AUTH nor a method to a client that named none", async () => {
    await using client = await broker.connect(5);
    assert.equal(client.connack.properties.authenticationMethod, undefined);
    assert.equal(client.connack.properties.authenticationData, undefined);
  });

  it("[MQTT-4.12.0-7] closes the connection on AUTH from a client that named no method", async () => {
    for (const reasonCode of [0x18, 0x19]) {
      await using client = await broker.connect(5);
      client.send(answer("a friend", reasonCode));
      await broker.expectRefused(client, 0x82, 0x8c);
    }
  });

  it("[MQTT-4.12.1-1] authenticates again when the client asks, while messages flow", async () => {
    const topic = unique("t");
    await using client = await letIn();
    await client.subscribe(topic);
    client.send(answer("hello again", 0x19));
    assert.equal((await client.expect("auth")).reasonCode, 0x18);
    client.send(packets.publish(5, { topic, payload: "meanwhile" }));
    assert.equal((await client.receive()).payload, "meanwhile");
    client.send(answer("a friend"));
    const done = await client.expect("auth");
    assert.equal(done.reasonCode, 0x00);
    assert.equal(done.properties.authenticationMethod, method);
    await client.ping();
  });

  it("[MQTT-4.12.1-1] closes the connection on a second authentication by another method", async () => {
    await using client = await letIn();
    client.send(answer("hello again", 0x19, "OTHER"));
    await broker.expectRefused(client, 0x82, 0x8c);
  });

  it("[MQTT-4.12.1-2] closes the connection when the second authentication fails", async () => {
    await using client = await letIn();
    client.send(answer("hello again", 0x19));
    await client.expect("auth");
    client.send(answer("a foe"));
    await broker.expectRefused(client, 0x87);
  });

  it("[MQTT-3.15.2-1] closes the connection on AUTH 0x18 when nothing was asked, and on AUTH 0x00", async () => {
    for (const reasonCode of [0x18, 0x00]) {
      await using client = await letIn();
      client.send(answer("a friend", reasonCode));
      await broker.expectRefused(client, 0x82);
    }
  });

  it("[MQTT-3.15.2-2] [MQTT-3.15.2-3] keeps AUTH within the client's Maximum Packet Size", async () => {
    const maximum = 40;
    await using client = await asked([property.maximumPacketSize(maximum)], maximum);
    await client.drop();
  });

  it("[MQTT-3.14.0-1] refuses with CONNACK, not DISCONNECT, when nobody can say who the client is", async () => {
    for (const [username, reasonCode] of [
      ["nobody", 0x86],
      ["broken", 0x88],
    ] as const) {
      await using client = await broker.open(5);
      client.send(packets.connect(5, { clientId: unique("c"), username }));
      await broker.expectNotConnected(client, reasonCode);
    }
  });

  it("[MQTT-3.1.4-6] takes nothing of a client it refuses after thinking about it", async () => {
    const topic = unique("t");
    await using client = await broker.open(5);
    client.send(
      packets.connect(5, { clientId: unique("c"), username: "nobody" }),
      packets.publish(5, { topic, payload: "not let in", retain: true }),
    );
    await broker.expectNotConnected(client, 0x86);
    await using subscriber = await broker.connect(5);
    await subscriber.subscribe(topic);
    await subscriber.expectNothing();
  });
});

describe("MQTT 3.1.1", { concurrency: true }, () => {
  it("[MQTT-3.2.2-4] [MQTT-3.2.2-5] refuses with a return code that says why, and closes", async () => {
    for (const [username, returnCode] of [
      ["nobody", 4],
      ["broken", 3],
    ] as const) {
      await using client = await broker.open(4);
      client.send(packets.connect(4, { clientId: unique("c"), username }));
      const connack = await client.expect("connack");
      assert.deepEqual([connack.reasonCode, connack.sessionPresent], [returnCode, false]);
      await client.expectClosed();
    }
  });
});
