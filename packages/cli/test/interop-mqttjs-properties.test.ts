import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import type { IClientPublishOptions } from "mqtt";

import { TestClient, lasting, withholding } from "./support/mqttjs.ts";
import { interopServer, type InteropServer } from "./support/interop-server.ts";

let server: InteropServer;
/** Listeners with the default limits and with small ones. */
let url: string;
let smallUrl: string;

before(async () => {
  server = await interopServer();
  ({ url, smallUrl } = server);
});
after(() => server[Symbol.asyncDispose]());

function expires(seconds: number): IClientPublishOptions {
  return { qos: 1, properties: { messageExpiryInterval: seconds } };
}

/** The topic alias of every message that came; `undefined` for one without. */
function aliases(client: TestClient): (number | undefined)[] {
  return client.packets.flatMap((packet) =>
    packet.cmd === "publish" ? [packet.properties?.topicAlias] : [],
  );
}

describe("MQTT.js with our broker, in MQTT 5.0", { concurrency: 10 }, () => {
  describe("properties", { concurrency: 10 }, () => {
    it("carries those of a message unaltered, user properties in order (3.3.2.3)", async () => {
      await using client = await TestClient.connect(url);
      await client.subscribe("properties/all", { qos: 1 });
      const properties = {
        payloadFormatIndicator: true,
        contentType: "text/plain",
        responseTopic: "properties/answer",
        correlationData: Buffer.of(0, 255),
        userProperties: { b: "1", a: ["2", "3"], c: "" },
      };
      await client.publish("properties/all", "x", { properties });
      const received = await client.next();
      assert.deepEqual(
        { ...received.properties, userProperties: { ...received.properties.userProperties } },
        properties,
      );
      assert.deepEqual(Object.keys(received.properties.userProperties ?? {}), ["b", "a", "c"]);
    });

    it("counts the message expiry down, and delivers nothing that expired (3.3.2.3.3)", async () => {
      const options = lasting(60);
      await using publisher = await TestClient.connect(url);
      const first = await TestClient.connect(url, options);
      await first.subscribe("expiry", { qos: 1 });
      await first.end();
      await publisher.publish("expiry", "gone", expires(1));
      await publisher.publish("expiry", "there", expires(60));
      await publisher.publish("expiry/retained", "gone", { ...expires(1), retain: true });
      await delay(2_100);
      await using second = await TestClient.connect(url, options);
      const { text, properties } = await second.next();
      assert.equal(text, "there");
      const rest = properties.messageExpiryInterval ?? 0;
      assert.ok(rest >= 50 && rest <= 58, `${rest} seconds`);
      await second.subscribe("expiry/retained");
      await second.assertNothingMore();
    });

    it("asks and answers with response topic, correlation data and response information (4.10)", async () => {
      const asking = { properties: { requestResponseInformation: true } };
      await using requester = await TestClient.connect(url, asking);
      await using responder = await TestClient.connect(url);
      const information = requester.connack.properties?.responseInformation;
      assert.equal(information, "answers/");
      assert.equal(responder.connack.properties?.responseInformation, undefined, "told only when asked for");
      const responseTopic = `${information}1`;
      await requester.subscribe(responseTopic);
      await responder.subscribe("questions");
      const correlationData = Buffer.from("42");
      await requester.publish("questions", "what?", { properties: { responseTopic, correlationData } });
      const question = await responder.next();
      await responder.publish(question.properties.responseTopic ?? "", "that", {
        properties: { correlationData: question.properties.correlationData ?? Buffer.alloc(0) },
      });
      const answer = await requester.next();
      assert.deepEqual([answer.text, answer.properties.correlationData], ["that", correlationData]);
    });

    it("tells the identifiers of all matching subscriptions with one copy (3.3.2.3.8, 3.3.4)", async () => {
      await using client = await TestClient.connect(url);
      await client.subscribe("identified/#", { qos: 1, properties: { subscriptionIdentifier: 1 } });
      await client.subscribe("identified/+", { qos: 2, properties: { subscriptionIdentifier: 268_435_455 } });
      await client.subscribe("identified/a", { qos: 0 });
      await client.publish("identified/a", "x", { qos: 2 });
      const { qos, properties } = await client.next();
      assert.equal(qos, 2);
      const identifiers = properties.subscriptionIdentifier;
      assert.ok(Array.isArray(identifiers));
      assert.deepEqual(
        identifiers.toSorted((a, b) => a - b),
        [1, 268_435_455],
      );
      await client.publish("identified/a/b", "y");
      assert.equal((await client.next()).properties.subscriptionIdentifier, 1);
      await client.assertNothingMore();
    });

    it("gives a client without an id one that it can come back with (3.2.2.3.7)", async () => {
      const first = await TestClient.connect(url, {
        clientId: "",
        properties: { sessionExpiryInterval: 60 },
      });
      const clientId = first.connack.properties?.assignedClientIdentifier;
      assert.ok(clientId !== undefined && clientId.length > 0);
      await first.end();
      await using second = await TestClient.connect(url, { clientId, clean: false });
      assert.equal(second.connack.sessionPresent, true);
    });
  });

  describe("subscription options", { concurrency: 10 }, () => {
    it("no local, retain as published and retain handling (3.8.3.1)", async () => {
      await using client = await TestClient.connect(url);
      await using other = await TestClient.connect(url);
      await client.publish("options/kept", "kept", { retain: true });

      await client.subscribe("options/+", { qos: 1, nl: true, rap: true, rh: 2 });
      await client.publish("options/a", "own");
      await other.publish("options/a", "other", { retain: true });
      const message = await client.next();
      assert.deepEqual([message.text, message.retain], ["other", true]);

      const kept = async (rh: number) => {
        await client.subscribe("options/kept", { qos: 1, rh });
        await client.assertNothingMore();
      };
      await kept(2);
      await kept(1);
      await client.client.unsubscribeAsync("options/kept");
      await client.subscribe("options/kept", { qos: 1, rh: 1 });
      assert.deepEqual(await client.texts(1), ["kept"], "a new subscription");
      await client.subscribe("options/kept", { qos: 1, rh: 0 });
      assert.deepEqual(await client.texts(1), ["kept"], "always");
      for (const topic of ["options/kept", "options/a"]) await other.publish(topic, "", { retain: true });
    });

    it("refuses filters one by one, and says which subscription never was (3.9.3, 3.11.3)", async () => {
      await using client = await TestClient.connect(url);
      const answers = new Promise<unknown>((resolve) => {
        client.client.subscribe(["reasons/a", "$SYS/#"], { qos: 1 }, (_error, _granted, packet) =>
          resolve(packet?.granted),
        );
      });
      assert.deepEqual(await answers, [1, 0x87]);
      await client.client.unsubscribeAsync(["reasons/a", "reasons/b"]);
      const unsuback = client.packets.find((packet) => packet.cmd === "unsuback");
      assert.deepEqual(unsuback?.granted, [0x00, 0x11]);
    });

    it("says in PUBACK and PUBREC that nobody is subscribed (3.4.2.1, 3.5.2.1)", async () => {
      await using client = await TestClient.connect(url);
      await client.publish("nobody/here", "x", { qos: 1 });
      await client.publish("nobody/here", "x", { qos: 2 });
      const codes = client.packets.flatMap((packet) =>
        packet.cmd === "puback" || packet.cmd === "pubrec" ? [packet.reasonCode] : [],
      );
      assert.deepEqual(codes, [0x10, 0x10]);
    });
  });

  describe("shared subscriptions (4.8.2)", { concurrency: 10 }, () => {
    it("spread messages over the members, each message to one, and every group gets all", async () => {
      const members = await Promise.all([1, 2, 3].map(() => TestClient.connect(url)));
      await using single = await TestClient.connect(url);
      await using publisher = await TestClient.connect(url);
      for (const member of members) await member.subscribe("$share/team/spread/#", { qos: 1 });
      await single.subscribe("$share/other/spread/+", { qos: 1 });
      const expected = Array.from({ length: 60 }, (_, index) => `${index}`);
      for (const text of expected) await publisher.publish("spread/a", text);
      assert.deepEqual(await single.texts(60), expected);
      const shares: string[][] = [];
      for (const member of members) {
        // What was sent before is there when this comes back.
        await member.client.unsubscribeAsync("$share/team/spread/#");
        shares.push(member.drain());
      }
      assert.ok(
        shares.every((share) => share.length >= 10),
        shares.map((share) => share.length).join(),
      );
      assert.deepEqual(
        shares.flat().sort((a, b) => Number(a) - Number(b)),
        expected,
      );
      for (const member of members) await member.end();
    });

    it("bring no retained messages", async () => {
      await using client = await TestClient.connect(url);
      await client.publish("shared-retained/a", "x", { retain: true });
      await client.subscribe("$share/team/shared-retained/#");
      await client.assertNothingMore();
      await client.publish("shared-retained/a", "", { retain: true });
    });

    it("hand what a leaving member did not acknowledge to another one", async () => {
      const leaving = await TestClient.connect(url, withholding);
      await leaving.subscribe("$share/hands/handed/#", { qos: 1 });
      await using publisher = await TestClient.connect(url);
      const expected = ["1", "2", "3"];
      for (const text of expected) await publisher.publish("handed/a", text);
      await leaving.until(() => leaving.count("publish") === 3, "the messages");
      await using staying = await TestClient.connect(url);
      await staying.subscribe("$share/hands/handed/#", { qos: 1 });
      await leaving.cut();
      assert.deepEqual(await staying.texts(3), expected);
      await staying.assertNothingMore();
    });
  });

  describe("topic aliases (3.3.2.3.4)", { concurrency: 10 }, () => {
    it("are understood from the client, again after each connection", async () => {
      await using subscriber = await TestClient.connect(url);
      await subscriber.subscribe("alias-in/#");
      await using publisher = await TestClient.connect(url, {
        autoAssignTopicAlias: true,
        reconnectPeriod: 20,
      });
      const maximum = publisher.connack.properties?.topicAliasMaximum ?? 0;
      assert.ok(maximum > 0);
      const publishAll = async () => {
        for (const index of [0, 1, 0, 1, ...Array.from({ length: maximum }, (_, more) => more + 2), 0]) {
          await publisher.publish(`alias-in/${index}`, `${index}`);
          const { topic, text } = await subscriber.next();
          assert.deepEqual([topic, text], [`alias-in/${index}`, `${index}`]);
        }
      };
      await publishAll();
      const withoutName = publisher.sent.filter((packet) => packet.cmd === "publish" && packet.topic === "");
      assert.ok(withoutName.length >= 2, "topics that were not sent");
      await publisher.cut();
      await publisher.until(() => publisher.client.connected, "the connection");
      await publishAll();
    });

    it("are used towards a client that allows them, and never towards one that does not", async () => {
      await using allowing = await TestClient.connect(url, { properties: { topicAliasMaximum: 2 } });
      await using forbidding = await TestClient.connect(url);
      for (const client of [allowing, forbidding]) await client.subscribe("alias-out/#", { qos: 1 });
      for (const round of [1, 2, 3]) {
        for (const index of [0, 1, 2]) await forbidding.publish(`alias-out/${index}`, `${round}`);
      }
      for (const client of [allowing, forbidding]) {
        for (const round of [1, 2, 3]) {
          for (const index of [0, 1, 2]) {
            const { topic, text } = await client.next();
            assert.deepEqual([topic, text], [`alias-out/${index}`, `${round}`]);
          }
        }
      }
      assert.ok(aliases(forbidding).every((alias) => alias === undefined));
      const used = aliases(allowing).filter((alias) => alias !== undefined);
      assert.ok(used.length >= 6, `${used.length} aliases`);
      assert.ok(used.every((alias) => alias === 1 || alias === 2));
      const empty = allowing.packets.filter((packet) => packet.cmd === "publish" && packet.topic === "");
      assert.ok(empty.length >= 4, "topics that were not sent");
    });

    it("beyond the maximum end the connection with 0x94", async () => {
      await using client = await TestClient.connect(smallUrl);
      assert.equal(client.connack.properties?.topicAliasMaximum, 3);
      // MQTT.js would not let it pass.
      client.client["topicAliasSend"].max = 10;
      void client.publish("alias/x", "x", { qos: 0, properties: { topicAlias: 4 } });
      assert.equal(await client.disconnected(), 0x94);
    });
  });
});
