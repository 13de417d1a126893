import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import * as packets from "../support/packets.ts";
import { property } from "../support/packets.ts";
import type { RawClient } from "../support/raw-client.ts";
import type { Publish } from "../support/received.ts";
import { Broker, unique } from "../support/target.ts";

/** Sections 3.1.2.11.5 and 3.3.2.3.3 to 3.3.2.3.4: message expiry and topic aliases, in both directions. */
const broker = new Broker();

function lasting(): packets.ConnectOptions {
  return { clientId: unique("c"), clean: false, properties: [property.sessionExpiryInterval(600)] };
}

/** Sends PUBLISH under an alias, with or without the topic name. */
function publishAs(client: RawClient, topicAlias: number, topic: string, payload = ""): void {
  client.send(packets.publish(5, { topic, payload, properties: [property.topicAlias(topicAlias)] }));
}

/** Puts the topic name back into PUBLISH packets with an alias, and insists that the alias is within the maximum. */
class AliasReader {
  readonly #names = new Map<number, string>();
  readonly #maximum: number;
  withoutName = 0;

  constructor(maximum: number) {
    this.#maximum = maximum;
  }

  topicOf({ topic, properties: { topicAlias } }: Publish): string {
    if (topicAlias === undefined) return topic;
    assert.ok(topicAlias <= this.#maximum, `the topic alias ${topicAlias} is above ${this.#maximum}`);
    if (topic !== "") {
      this.#names.set(topicAlias, topic);
      return topic;
    }
    this.withoutName += 1;
    const name = this.#names.get(topicAlias);
    assert.ok(name !== undefined, `the topic alias ${topicAlias} was never given a name`);
    return name;
  }
}

describe("MQTT 5.0", { concurrency: true }, () => {
  it("[MQTT-3.3.2-5] does not deliver a message whose expiry interval passed while it waited", async () => {
    const topic = unique("t");
    const options = lasting();
    await using first = await broker.connect(5, options);
    await first.subscribe(topic, 2);
    await first.disconnect();
    await using publisher = await broker.connect(5);
    for (const qos of [1, 2] as const) {
      await publisher.publish({
        topic,
        qos,
        payload: "expires",
        properties: [property.messageExpiryInterval(1)],
      });
      await publisher.publish({ topic, qos, payload: "stays" });
    }
    await delay(1_500);
    await using second = await broker.connect(5, options);
    assert.deepEqual(await second.receivePayloads(2), ["stays", "stays"]);
    await second.expectNothing();
  });

  it("[MQTT-3.3.2-5] does not deliver a retained message whose expiry interval has passed", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5);
    const properties = [property.messageExpiryInterval(1)];
    await client.publish({ topic, qos: 1, payload: "p", retain: true, properties });
    await delay(1_500);
    await client.subscribe(topic);
    await client.expectNothing();
  });

  it("[MQTT-3.3.2-5] does not deliver a message that expired while the client had no room for it", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5, { properties: [property.receiveMaximum(1)] });
    await client.subscribe(topic, 1);
    await using publisher = await broker.connect(5);
    await publisher.publish({ topic, qos: 1, payload: "first" });
    const properties = [property.messageExpiryInterval(1)];
    await publisher.publish({ topic, qos: 1, payload: "expires", properties });
    await publisher.publish({ topic, qos: 1, payload: "stays" });
    const first = await client.expect("publish");
    await delay(1_500);
    await client.acknowledge(first);
    assert.equal((await client.receive()).payload, "stays");
    await client.expectNothing();
  });

  it("[MQTT-3.3.2-6] takes the time a message waited off its expiry interval", async () => {
    const topic = unique("t");
    const options = lasting();
    await using first = await broker.connect(5, options);
    await first.subscribe([topic, `${topic}/retained`], 1);
    await first.disconnect();
    await using publisher = await broker.connect(5);
    const properties = [property.messageExpiryInterval(100)];
    await publisher.publish({ topic, qos: 1, properties });
    await publisher.publish({ topic: `${topic}/retained`, qos: 1, payload: "p", retain: true, properties });
    await delay(1_200);
    await using second = await broker.connect(5, options);
    await using third = await broker.connect(5);
    await third.subscribe(`${topic}/retained`, 1);
    for (const publish of [await second.receive(), await second.receive(), await third.receive()]) {
      const { messageExpiryInterval = 0 } = publish.properties;
      assert.ok(messageExpiryInterval >= 95 && messageExpiryInterval <= 99, `${messageExpiryInterval} s`);
    }
    await publisher.publish({ topic: `${topic}/retained`, retain: true });
  });

  it("[MQTT-3.3.2-6] passes the expiry interval on as it came when the message did not wait", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5);
    await client.subscribe(topic);
    client.send(packets.publish(5, { topic, properties: [property.messageExpiryInterval(100)] }));
    const { messageExpiryInterval = 0 } = (await client.receive()).properties;
    assert.ok([99, 100].includes(messageExpiryInterval));
  });

  it("[MQTT-3.3.2-7] forgets topic aliases with the connection", async () => {
    const topic = unique("t");
    const options = lasting();
    await using first = await broker.connect(5, options);
    publishAs(first, 1, topic);
    await first.ping();
    await first.drop();
    await using second = await broker.connect(5, options);
    publishAs(second, 1, "");
    await broker.expectRefused(second, 0x82, 0x94);
  });

  it("[MQTT-3.3.2-8] closes the connection on the topic alias 0", async () => {
    await using client = await broker.connect(5);
    publishAs(client, 0, unique("t"));
    await broker.expectRefused(client, 0x94);
  });

  it(
    "[MQTT-3.3.2-9] closes the connection on a topic alias above the maximum",
    { skip: broker.lacks("limited") },
    async () => {
      await using client = await broker.connect(5, {}, "limited");
      publishAs(client, (client.connack.properties.topicAliasMaximum ?? 0) + 1, unique("t"));
      await broker.expectRefused(client, 0x94);
    },
  );

  it("[MQTT-3.2.2-18] closes the connection on a topic alias nobody gave a name", async () => {
    await using client = await broker.connect(5);
    publishAs(client, 2, unique("t"));
    publishAs(client, 1, "");
    await broker.expectRefused(client, 0x82, 0x94);
  });

  it("[MQTT-3.3.2-12] takes every topic alias up to its maximum, and new names for old ones", async () => {
    const topic = unique("t");
    await using client = await broker.connect(5);
    await client.subscribe(`${topic}/#`);
    const { topicAliasMaximum: maximum = 0 } = client.connack.properties;
    for (const alias of [1, maximum]) {
      publishAs(client, alias, `${topic}/${alias}`, "named");
      publishAs(client, alias, "", "by alias");
      for (const payload of ["named", "by alias"]) {
        const received = await client.receive();
        assert.equal(received.topic, `${topic}/${alias}`);
        assert.equal(received.payload, payload);
      }
    }
    publishAs(client, 1, `${topic}/renamed`);
    publishAs(client, 1, "");
    for (let count = 0; count < 2; count += 1)
      assert.equal((await client.receive()).topic, `${topic}/renamed`);
  });

  it("[MQTT-3.3.2-11] [MQTT-3.1.2-26] keeps its topic aliases within the client's maximum", async () => {
    const topic = unique("t");
    for (const maximum of [1, 3]) {
      await using client = await broker.connect(5, { properties: [property.topicAliasMaximum(maximum)] });
      await client.subscribe(`${topic}/#`);
      const reader = new AliasReader(maximum);
      await using publisher = await broker.connect(5);
      const topics = ["a", "b", "c", "d", "a", "a", "b", "e", "a", "b", "c"].map(
        (name) => `${topic}/${name}`,
      );
      for (const name of topics) {
        publisher.send(packets.publish(5, { topic: name }));
        assert.equal(reader.topicOf(await client.expect("publish")), name);
      }
      if (broker.isOurs) assert.ok(reader.withoutName > 0, "the broker made no use of topic aliases");
    }
  });

  it("[MQTT-3.1.2-27] sends no topic alias to a client that allows none", async () => {
    const topic = unique("t");
    for (const properties of [[], [property.topicAliasMaximum(0)]]) {
      await using client = await broker.connect(5, { properties });
      await client.subscribe(topic);
      for (let count = 0; count < 3; count += 1) {
        client.send(packets.publish(5, { topic, properties: [property.topicAlias(1)] }));
        const received = await client.receive();
        assert.equal(received.topic, topic);
        assert.equal(received.properties.topicAlias, undefined);
      }
    }
  });
});
