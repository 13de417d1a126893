import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, describe, it } from "node:test";

import { connectPacket, HandClient } from "@postern/broker/testing/hand-client";
import { publishPacket, request, subscribePacket } from "@postern/broker/testing/packets";

import { mosquittoMissing } from "../support/mosquitto.ts";
import { TestClient } from "../support/mqttjs.ts";
import { PermittedServer, roles } from "../support/permitted-server.ts";

const permissions = roles({
  anonymous: [
    `{ topics: ["tenant-a/\${client}/#", "a/b/#", "plain"], allow: [publish, subscribe] }`,
    `{ topics: ["#"], allow: [publish], qos: [2] }`,
    `{ topics: ["a/b/#"], allow: [shared] }`,
  ],
  master: [
    `{ topics: ["#"], allow: [publish, subscribe, retain, shared, persistentSession] }`,
    `{ topics: ["$SYS/#"], allow: [subscribe] }`,
    `{ topics: ["$CONTROL/one"], allow: [publish, subscribe] }`,
  ],
});

let server: PermittedServer;
before(async () => {
  server = await PermittedServer.start(permissions);
  await server.addDevice("master", ["master"]);
});
after(() => server[Symbol.asyncDispose]());

/** The reason codes that MQTT.js is given, refusals included. */
async function granted(client: TestClient, filters: string[]): Promise<number[]> {
  const before = client.count("suback");
  await client.subscribe(filters, { qos: 1 }).catch(() => {});
  await client.until(() => client.count("suback") > before, "SUBACK");
  const suback = client.packets.findLast(({ cmd }) => cmd === "suback");
  assert.ok(suback?.cmd === "suback");
  return suback.granted.map(Number);
}

/** What mosquitto_sub says of a subscription. */
async function mosquittoSub(filter: string): Promise<string> {
  const args = ["-p", String(server.plain.port), "-i", "me", "-t", filter, "-W", "1", "-d"];
  const child = spawn("mosquitto_sub", args, { stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (part: string) => (text += part));
  await once(child, "close");
  return text;
}

const wide = [
  "#",
  "+/#",
  "$SYS/#",
  "$share/g/#",
  "tenant-b/#",
  "tenant-a/other/#",
  "tenant-a/#",
  "+/me/#",
  "/#",
];

describe("attack 34: a filter wider than what is granted, another's prefix, $SYS", () => {
  it("is refused in the SUBACK, 0x87 in MQTT 5 and 0x80 in MQTT 3.1.1, and nothing of it is delivered", async () => {
    await using master = await server.connect("master");
    for (const [protocolVersion, refusal] of [
      [5, 0x87],
      [4, 0x80],
    ] as const) {
      await using client = await TestClient.connect(server.plainUrl, { protocolVersion, clientId: "me" });
      assert.deepEqual(
        await granted(client, wide),
        wide.map(() => refusal),
      );
      assert.deepEqual(await granted(client, ["tenant-a/me/#", "plain"]), [1, 1]);
      await master.publish("tenant-b/x", "not yours");
      await master.publish("tenant-a/me/x", "yours");
      assert.deepEqual(await client.texts(1), ["yours"]);
      assert.deepEqual(client.drain(), []);
    }
  });

  it(
    "is refused to mosquitto_sub as well, which may have its own topics",
    { skip: mosquittoMissing },
    async () => {
      assert.match(
        await mosquittoSub("#"),
        /Subscribed \(mid: 1\): 128|All subscription requests were denied/,
      );
      assert.match(await mosquittoSub("tenant-a/me/#"), /Subscribed \(mid: 1\): 0/);
    },
  );
});

describe("attack 35: one allowed filter opens the door for others in the same SUBSCRIBE (dojot #2529)", () => {
  it("judges each filter by itself, whatever the order", async () => {
    await using master = await server.connect("master");
    await using client = await TestClient.connect(server.plainUrl, { clientId: "me" });
    assert.deepEqual(await granted(client, ["plain", "forbidden", "a/b/c", "#"]), [1, 0x87, 1, 0x87]);
    assert.deepEqual(await granted(client, ["forbidden", "plain"]), [0x87, 1]);
    await master.publish("forbidden", "x");
    await master.publish("plain", "y");
    assert.deepEqual(await client.texts(1), ["y"]);
  });
});

describe("attack 36: shared subscriptions and wildcards across what is granted", () => {
  it("needs the right to share and the right to subscribe, and refuses a/+/c where a/b/# is granted", async () => {
    await using client = await TestClient.connect(server.plainUrl, { clientId: "me" });
    assert.deepEqual(
      await granted(client, [
        "$share/g/forbidden",
        "$share/g/a/b/c",
        "$share/g/plain",
        "a/+/c",
        "a/#",
        "a/b/+",
      ]),
      [0x87, 1, 0x87, 0x87, 0x87, 1],
    );
  });
});

describe("attack 37: publishing to the server's topics, to no topic, to one that is too deep (CVE-2021-34432)", () => {
  it("refuses $SYS, $CONTROL, $keys and $share to whoever may write everything, and takes what is named", async () => {
    await using master = await server.connect("master");
    await master.subscribe(["$SYS/broker/uptime", "$CONTROL/one"]);
    for (const topic of ["$SYS/broker/uptime", "$CONTROL/dynamic-security/v1", "$keys/x", "$share/g/x", "$"])
      await assert.rejects(master.publish(topic, "forged"), /Not authorized|135/, topic);
    await master.publish("$CONTROL/one", "named");
    for (;;) {
      const { topic, text } = await master.next();
      assert.notEqual(text, "forged");
      if (topic === "$CONTROL/one") break;
    }
    await master.publish("open", "goes on");
  });

  it("closes the connection for wildcards, nothing, NUL and 200 levels as a topic, and stays", async () => {
    const deep = Array.from({ length: 200 }, () => "a").join("/");
    for (const topic of ["a/+/b", "#", "", "a\0b", deep, "/".repeat(60_000)]) {
      for (const version of [4, 5] as const) {
        await using client = await HandClient.connected(server.plain, connectPacket(`c${version}`, version));
        client.send(publishPacket(version, { topic, payload: "x", qos: 2, packetId: 1 }));
        await client.wire.closed;
      }
    }
    await using honest = await HandClient.connected(server.plain, connectPacket("me", 5));
    honest.send(publishPacket(5, { topic: "a/b/ok", payload: "x", qos: 1, packetId: 1 }));
    assert.ok((await honest.take("puback")).reasonCode < 0x80);
    honest.send(subscribePacket(5, 2, [request("a/b/ok")]));
    assert.deepEqual((await honest.take("suback")).reasonCodes, [0]);
  });

  it("tells the QoS levels of a rule apart", async () => {
    await using client = await TestClient.connect(server.plainUrl, { clientId: "me" });
    await assert.rejects(client.publish("elsewhere", "x", { qos: 1 }), /Not authorized|135/);
    await client.publish("elsewhere", "x", { qos: 2 });
  });
});
