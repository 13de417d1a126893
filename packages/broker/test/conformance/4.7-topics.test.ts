import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { concat, raw, utf8 } from "../support/bytes.ts";
import * as packets from "../support/packets.ts";
import type { Version } from "../support/packets.ts";
import { Broker, unique } from "../support/target.ts";

/** Section 4.7: topic names and topic filters. */
const broker = new Broker();

/** Refused in SUBACK (0x80, 0x8F) or by closing the connection: nothing of the kind may be subscribed to. */
async function refusesFilters(version: Version, ...filters: (string | Uint8Array)[]): Promise<void> {
  for (const filter of filters) {
    await using client = await broker.connect(version);
    client.send(packets.subscribe(version, 1, [[filter, 0]]));
    if ((await client.closesOrSends()) !== "suback") {
      await broker.expectRefused(client, 0x81, 0x82, 0x8f);
      continue;
    }
    const { reasonCodes } = await client.expect("suback");
    if (broker.isOurs) assert.deepEqual([version, ...reasonCodes], [5, 0x8f]);
    else assert.ok((reasonCodes[0] ?? 0) >= 0x80, `granted ${String(filter)}`);
  }
}

async function refusesTopics(version: Version, ...topics: (string | Uint8Array)[]): Promise<void> {
  for (const topic of topics) {
    await using client = await broker.connect(version);
    client.send(packets.publish(version, { topic }));
    await broker.expectRefused(client, 0x81, 0x82, 0x90);
  }
}

/** Which of the topics reach a subscriber of the filter; all names are below a prefix that nobody else uses. */
async function matches(version: Version, filter: string, topics: readonly string[]): Promise<string[]> {
  const prefix = unique("t");
  await using client = await broker.connect(version);
  await client.subscribe(`${prefix}${filter}`);
  for (const topic of topics) client.send(packets.publish(version, { topic: `${prefix}${topic}` }));
  await client.ping();
  const received: string[] = [];
  while (client.arrived === "publish") received.push((await client.receive()).topic.slice(prefix.length));
  return received;
}

const topics = ["", "/", "/a", "/a/", "/a/b", "/a/b/c", "//", "//b", "/A"];

async function multiLevelMatches(version: Version): Promise<void> {
  assert.deepEqual(await matches(version, "/#", topics), topics);
  assert.deepEqual(await matches(version, "/a/#", topics), ["/a", "/a/", "/a/b", "/a/b/c"]);
  assert.deepEqual(await matches(version, "/a/b/c/#", topics), ["/a/b/c"]);
}

async function singleLevelMatches(version: Version): Promise<void> {
  assert.deepEqual(await matches(version, "/+", topics), ["/", "/a", "/A"]);
  assert.deepEqual(await matches(version, "/+/b", topics), ["/a/b", "//b"]);
  assert.deepEqual(await matches(version, "/a/+", topics), ["/a/", "/a/b"]);
  assert.deepEqual(await matches(version, "/+/+", topics), ["/a/", "/a/b", "//", "//b"]);
  assert.deepEqual(await matches(version, "/+/#", topics), topics.slice(1));
}

/** Also where the wildcard is the first level: names with a leading separator have an empty first level. */
async function leadingWildcardsMatch(version: Version): Promise<void> {
  const id = unique("t");
  await using client = await broker.connect(version);
  await client.subscribe([`+/${id}`, `+/+/${id}/#`]);
  const expected = [`a/${id}`, `/${id}`, `a/b/${id}`, `//${id}/x`];
  for (const topic of [id, ...expected, `a/b/c/${id}`]) client.send(packets.publish(version, { topic }));
  for (const topic of expected) assert.equal((await client.receive()).topic, topic);
  await client.expectNothing();
}

/** `$` topics are a broker's own: it may refuse them, but a leading wildcard must never match them. */
async function hidesDollarTopics(version: Version): Promise<void> {
  const id = unique("t");
  await using client = await broker.connect(version);
  await client.subscribe(["#", "+/#", `+/${id}`, `+/+/${id}`]);
  await using publisher = await broker.connect(version);
  const hidden = [`$${id}/${id}`, `$x/y/${id}`, `$SYS/${id}`];
  for (const topic of hidden) await publisher.publish({ topic, payload: id });
  await publisher.publish({ topic: `x/${id}`, payload: "end" });
  for (;;) {
    const publish = await client.receive();
    assert.ok(!publish.topic.startsWith("$"), publish.topic);
    if (publish.payload === "end") return;
  }
}

async function normalizesNothing(version: Version): Promise<void> {
  const composed = "/\u00e9";
  const decomposed = "/e\u0301";
  const names = [composed, decomposed, "/ ", "/  ", "/\u00a0", "/a/../b", "/%62", "/B", "/b"];
  for (const name of names) assert.deepEqual(await matches(version, name, names), [name]);
}

/** A topic of 4,096 bytes is the longest we take by default; the length field ends at 65,535. */
async function takesLongTopics(version: Version): Promise<void> {
  const topic = unique("t").padEnd(4_096, "x");
  await using client = await broker.connect(version);
  await client.subscribe(topic);
  client.send(packets.publish(version, { topic }));
  assert.equal((await client.receive()).topic, topic);
}

describe("MQTT 3.1.1", { concurrency: true }, () => {
  it("[MQTT-4.7.1-1] closes the connection on a topic name with a wildcard", () =>
    refusesTopics(4, "a/+", "#", "a/#/b"));

  it("[MQTT-4.7.1-2] refuses filters in which # does not stand alone at the end", () =>
    refusesFilters(4, "a/#/b", "a#", "#/a", "##", "a/b#", "sensors/#/temperature"));

  it("[MQTT-4.7.1-2] matches all levels below and the parent with #", () => multiLevelMatches(4));

  it("[MQTT-4.7.1-3] refuses filters in which + does not stand alone in its level", () =>
    refusesFilters(4, "a+", "+a", "a/+b", "++", "a/b+/c"));

  it("[MQTT-4.7.1-3] matches one level with +, wherever it stands", async () => {
    await singleLevelMatches(4);
    await leadingWildcardsMatch(4);
  });

  it("[MQTT-4.7.2-1] does not match names that begin with $ with a leading wildcard", () =>
    hidesDollarTopics(4));

  it("[MQTT-4.7.3-1] refuses empty topic names and filters", async () => {
    await refusesTopics(4, "");
    await refusesFilters(4, "");
  });

  it("[MQTT-4.7.3-2] refuses topic names and filters with U+0000", async () => {
    await refusesTopics(4, utf8("a\0"));
    await refusesFilters(4, utf8("a\0"));
  });

  it("[MQTT-4.7.3-3] takes long topic names", () => takesLongTopics(4));

  it("[MQTT-4.7.3-4] matches names as they are written", () => normalizesNothing(4));
});

describe("MQTT 5.0", { concurrency: true }, () => {
  it("[MQTT-4.7.0-1] closes the connection on a topic name with a wildcard", () =>
    refusesTopics(5, "a/+", "#", "a/#/b"));

  it("[MQTT-4.7.1-1] refuses filters in which # does not stand alone at the end", () =>
    refusesFilters(5, "a/#/b", "a#", "#/a", "##", "a/b#", "sensors/#/temperature"));

  it("[MQTT-4.7.1-1] matches all levels below and the parent with #", () => multiLevelMatches(5));

  it("[MQTT-4.7.1-2] refuses filters in which + does not stand alone in its level", () =>
    refusesFilters(5, "a+", "+a", "a/+b", "++", "a/b+/c"));

  it("[MQTT-4.7.1-2] matches one level with +, wherever it stands", async () => {
    await singleLevelMatches(5);
    await leadingWildcardsMatch(5);
  });

  it("[MQTT-4.7.2-1] does not match names that begin with $ with a leading wildcard", () =>
    hidesDollarTopics(5));

  it("[MQTT-4.7.3-1] refuses empty topic names and filters", async () => {
    await refusesTopics(5, "");
    await refusesFilters(5, "");
  });

  it("[MQTT-4.7.3-2] refuses topic names and filters with U+0000", async () => {
    await refusesTopics(5, concat(raw(0), utf8("a")));
    await refusesFilters(5, concat(raw(0), utf8("a")));
  });

  it("[MQTT-4.7.3-3] takes long topic names", () => takesLongTopics(5));

  it("[MQTT-4.7.3-4] matches names as they are written", () => normalizesNothing(5));
});
