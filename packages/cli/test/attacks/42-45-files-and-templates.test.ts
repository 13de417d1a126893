import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { after, before, describe, it } from "node:test";

import { connectPacket, HandClient } from "@postern/broker/testing/hand-client";
import { publishPacket } from "@postern/broker/testing/packets";

import { run } from "../../src/main.ts";
import { fakeContext } from "../../src/testing.ts";
import { TestClient } from "../support/mqttjs.ts";
import { PermittedServer, roles } from "../support/permitted-server.ts";

const good = roles({
  anonymous: [
    `{ topics: ["clients/\${client}/#"], allow: [publish, subscribe] }`,
    `{ topics: ["echo/#"], allow: [publish, subscribe] }`,
    `{ topics: ["ask"], allow: [publish] }`,
  ],
  master: [`{ topics: ["#"], allow: [publish, subscribe] }`],
});

let server: PermittedServer;
before(async () => {
  server = await PermittedServer.start(good);
  await server.addDevice("master", ["master"]);
});
after(() => server[Symbol.asyncDispose]());

function hand(clientId: string): Promise<HandClient> {
  return HandClient.connected(server.plain, connectPacket(clientId, 5));
}

describe("attack 42: a client id that is a filter (template injection, CVE-2017-7650)", () => {
  it("grants nothing to ids with + # or /, writes it down, and serves honest ids", async () => {
    for (const clientId of ["+", "#", "tenantA/+", "me/../other", "+/#"]) {
      await using client = await TestClient.connect(server.plainUrl, { clientId });
      for (const filter of ["clients/+/#", "clients/#", `clients/${clientId}/#`, "clients/other/data"])
        await assert.rejects(client.subscribe(filter), /.*/, `${clientId} ${filter}`);
      if (!/[+#]/.test(clientId))
        await assert.rejects(client.publish(`clients/${clientId}/data`, "x"), /Not authorized|135/);
    }
    const noted = server.audited("binding-refused");
    assert.ok(
      noted.some(({ clientId, detail = "" }) => clientId === "tenantA/+" && detail.includes("${client}")),
    );
    await using honest = await TestClient.connect(server.plainUrl, { clientId: "me" });
    await honest.subscribe("clients/me/#");
    await honest.publish("clients/me/data", "x");
    assert.deepEqual(await honest.texts(1), ["x"]);
  });
});

describe("attack 43: topic aliases that smuggle a topic past the permissions", () => {
  it("judges the topic behind an alias each time, and closes for alias 0, one above the maximum, and one not set", async () => {
    await using master = await server.connect("master");
    await master.subscribe("#");
    await using client = await hand("me");
    client.send(
      publishPacket(5, {
        topic: "forbidden",
        payload: "1",
        qos: 1,
        packetId: 1,
        properties: { topicAlias: 1 },
      }),
      publishPacket(5, { topic: "", payload: "2", qos: 1, packetId: 2, properties: { topicAlias: 1 } }),
      publishPacket(5, {
        topic: "clients/me/x",
        payload: "3",
        qos: 1,
        packetId: 3,
        properties: { topicAlias: 1 },
      }),
      publishPacket(5, { topic: "", payload: "4", qos: 1, packetId: 4, properties: { topicAlias: 1 } }),
      publishPacket(5, {
        topic: "forbidden",
        payload: "5",
        qos: 1,
        packetId: 5,
        properties: { topicAlias: 1 },
      }),
      publishPacket(5, { topic: "", payload: "6", qos: 1, packetId: 6, properties: { topicAlias: 1 } }),
    );
    const codes: number[] = [];
    while (codes.length < 6) codes.push((await client.take("puback")).reasonCode);
    assert.deepEqual(codes, [0x87, 0x87, 0, 0, 0x87, 0x87]);
    assert.deepEqual(await master.texts(2), ["3", "4"]);
    for (const topicAlias of [0, 33, 65_535, 7]) {
      await using bad = await hand("bad");
      bad.send(publishPacket(5, { topic: "", payload: "x", properties: { topicAlias } }));
      await bad.wire.closed;
      const last = bad.received.find(({ kind }) => kind === "disconnect");
      assert.ok(last?.kind === "disconnect");
      assert.equal(last.reasonCode, topicAlias === 7 ? 0x82 : 0x94, `alias ${topicAlias}`);
    }
    await using again = await hand("me");
    again.send(publishPacket(5, { topic: "", payload: "x", properties: { topicAlias: 1 } }));
    await again.wire.closed;
  });
});

describe("attack 44: an empty, broken or missing permissions file (CVE-2018-12550, CVE-2018-12551)", () => {
  it("keeps the last good file when it is broken, says so, and takes up the mended one", async () => {
    await using client = await TestClient.connect(server.plainUrl, { clientId: "me" });
    await client.subscribe("clients/me/#");
    await server.permit("roles:\n  anonymous:\n    rules:\n      - topics: [x]\n        alow: [publish]\n");
    const { permissions } = await server.status();
    assert.match(
      permissions.problem ?? "",
      /permissions\.yaml:5: unknown key "alow".*did you mean "allow"\?/,
    );
    assert.deepEqual(permissions.roles, ["anonymous", "master"]);
    assert.ok(server.audited("permissions-broken").length > 0);
    const explained = fakeContext({ cwd: server.directory.path });
    const asked = ["permissions", "explain", "anonymous", "publish", "echo/x", "--data", "."];
    assert.equal(await run(asked, explained), 0);
    assert.match(explained.out(), /the file in force; as it is now it cannot be used: .*unknown key "alow"/);
    await client.publish("clients/me/x", "still");
    await assert.rejects(client.publish("x", "not yet"), /Not authorized|135/);
    assert.deepEqual(await client.texts(1), ["still"]);
    await server.permit(`${good}# mended\n`);
    assert.equal((await server.status()).permissions.problem, undefined);
    await client.publish("clients/me/x", "and on");
    assert.deepEqual(await client.texts(1), ["and on"]);
  });

  it("permits nothing when it is empty or missing, and says so loudly", async () => {
    for (const gone of ["empty", "missing"] as const) {
      await server.permit(`${good}# ${gone}\n`);
      await using client = await TestClient.connect(server.plainUrl, { clientId: "me" });
      await client.subscribe("clients/me/#");
      const noted = server.audited("permissions-loaded").length;
      if (gone === "empty") server.rewrite("# nothing\n");
      else rmSync(server.directory.permissions);
      await server.until(() => server.audited("permissions-loaded").length > noted, "the empty file");
      assert.equal((await server.status()).permissions.state, gone);
      await assert.rejects(client.publish("clients/me/x", "x"), /Not authorized|135/);
      await assert.rejects(client.subscribe("clients/me/#"));
      server.rewrite(good);
      await server.until(() => server.audited("permissions-loaded").length > noted + 1, "the good file");
      await client.publish("clients/me/x", "x");
    }
  });

  it("lets nobody lose anything while an editor replaces the file in two steps", async () => {
    await server.permit(`${good}# steps\n`);
    await using client = await TestClient.connect(server.plainUrl, { clientId: "me" });
    await client.subscribe("echo/me");
    rmSync(server.directory.permissions);
    await delay(200);
    await server.permit(`${good}# steps, again\n`);
    await client.publish("echo/me", "x");
    assert.deepEqual(await client.texts(1), ["x"]);
  });

  it("does not start with a broken file, names the line, and opens nothing", async () => {
    await using other = await PermittedServer.start(good);
    await other.stop();
    other.rewrite("roles: { a: { rule: [] } }\n");
    const ended = await other.runUp();
    assert.equal(ended.code, 2);
    assert.match(
      ended.stderr,
      /^postern: \S+permissions\.yaml:1: unknown key "rule" under roles\.a; did you mean "rules"\?\n$/,
    );
  });
});

describe("attack 45: a response topic that is somebody else's", () => {
  it("refuses a request whose publisher may not receive the answer, and passes on one that may", async () => {
    await server.permit(`${good}# 45\n`);
    await using responder = await server.connect("master");
    await responder.subscribe("ask");
    await using client = await TestClient.connect(server.plainUrl, { clientId: "me" });
    for (const responseTopic of ["clients/other/in", "admin/delete", "$SYS/x"])
      await assert.rejects(
        client.publish("ask", "evil", { properties: { responseTopic } }),
        /Not authorized|135/,
      );
    const correlationData = Buffer.from("7");
    await client.publish("ask", "good", { properties: { responseTopic: "clients/me/in", correlationData } });
    const received = await responder.next();
    assert.deepEqual([received.text, received.properties.responseTopic], ["good", "clients/me/in"]);
    await server.permit(`responseTopics: free\n${good}`);
    await client.publish("ask", "free", { properties: { responseTopic: "clients/other/in" } });
    assert.equal((await responder.next()).text, "free");
  });
});

describe("refusedPublish", () => {
  it("disconnects with 0x87 in MQTT 5, and without a word in MQTT 3.1.1, when it says so", async () => {
    await server.permit(`refusedPublish: disconnect\n${good}`);
    await using five = await hand("five");
    five.send(publishPacket(5, { topic: "forbidden", payload: "x" }));
    await five.wire.closed;
    assert.ok(five.received.some((packet) => packet.kind === "disconnect" && packet.reasonCode === 0x87));
    await using four = await HandClient.connected(server.plain, connectPacket("four", 4));
    four.send(publishPacket(4, { topic: "forbidden", payload: "x" }));
    await four.wire.closed;
    await server.permit(good);
    await using dropped = await hand("dropped");
    dropped.send(publishPacket(5, { topic: "forbidden", payload: "x" }));
    await dropped.ping();
  });
});
