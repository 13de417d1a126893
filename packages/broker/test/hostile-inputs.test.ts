import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { afterConnect, asConnect, beforeConnect, type Outcome, type Row } from "./support/hostile-rows.ts";
import type { Version } from "./support/packets.ts";
import type { RawClient } from "./support/raw-client.ts";
import { Broker, unique } from "./support/target.ts";

/**
 * Malformed and hostile input, byte by byte, and exactly what becomes of it. After each, an honest client on the
 * same broker still publishes and receives.
 */
const broker = new Broker();

async function check(client: RawClient, bytes: Uint8Array, outcome: Outcome): Promise<void> {
  client.send(bytes);
  if (outcome === "closed") return client.expectClosed();
  if ("connack" in outcome) {
    assert.equal((await client.expect("connack")).reasonCode, outcome.connack);
    return client.expectClosed();
  }
  if ("disconnect" in outcome) {
    await client.expectDisconnect(outcome.disconnect);
    return undefined;
  }
  if (outcome.answered !== undefined) await client.expect(outcome.answered);
  return undefined;
}

describe("Hostile input", () => {
  let honest: RawClient | undefined;

  before(async () => {
    honest = await broker.connect(5);
    await honest.subscribe("honest", 1);
  });

  after(() => honest?.drop());

  async function servesHonestClient(): Promise<void> {
    assert.ok(honest !== undefined);
    await honest.publish({ topic: "honest", qos: 1, payload: "still here" });
    const publish = await honest.take("publish");
    assert.equal(publish.payload, "still here");
    await honest.acknowledge(publish);
  }

  function rows(
    table: readonly Row[],
    versions: readonly Version[],
    open: (version: Version) => Promise<RawClient>,
    goesOn: (client: RawClient) => Promise<void>,
  ): void {
    for (const { name, bytes, outcomes } of table) {
      for (const version of versions) {
        const outcome = version === 3 ? undefined : outcomes[version];
        if (outcome === undefined) continue;
        it(`${name}${versions.length > 1 ? ` (version ${version})` : ""}`, async () => {
          await using client = await open(version);
          await check(client, typeof bytes === "function" ? bytes(version) : bytes, outcome);
          if (typeof outcome === "object" && "answered" in outcome) await goesOn(client);
          await servesHonestClient();
        });
      }
    }
  }

  describe("before CONNECT", () => {
    rows(
      beforeConnect,
      [5],
      (version) => broker.open(version),
      async (client) => void (await client.connect({ clientId: unique("c") })),
    );
  });

  describe("as CONNECT", () => {
    rows(
      asConnect,
      [4, 5],
      (version) => broker.open(version),
      (client) => client.ping(),
    );
  });

  describe("after CONNECT", () => {
    rows(
      afterConnect,
      [4, 5],
      (version) => broker.connect(version),
      (client) => client.expectNothing(),
    );
  });

  it("is told apart in at least 60 rows", () => {
    assert.ok(beforeConnect.length + asConnect.length + afterConnect.length >= 60);
  });
});
