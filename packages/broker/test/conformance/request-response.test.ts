import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { utf8 } from "../support/bytes.ts";
import { property } from "../support/packets.ts";
import { Broker, unique } from "../support/target.ts";

/** Section 4.10: request and response. */
const broker = new Broker();

describe("MQTT 5.0", { concurrency: true }, () => {
  it(
    "returns Response Information to a client that asks for it",
    { skip: broker.unlessOurs("a broker may leave it out") },
    async () => {
      const clientId = unique("c");
      await using client = await broker.connect(5, {
        clientId,
        properties: [property.requestResponseInformation(1)],
      });
      assert.equal(client.connack.properties.responseInformation, `responses/${clientId}/`);
    },
  );

  it("carries a request to a responder and the response back", async () => {
    const id = unique("t");
    await using requester = await broker.connect(5);
    await requester.subscribe(`${id}/responses/me`, 1);
    await using responder = await broker.connect(5);
    await responder.subscribe(`${id}/requests`, 1);
    const properties = [property.responseTopic(`${id}/responses/me`), property.correlationData("question 7")];
    await requester.publish({ topic: `${id}/requests`, payload: "6 * 7?", qos: 1, properties });
    const request = await responder.receive();
    const { responseTopic, correlationData } = request.properties;
    assert.ok(responseTopic !== undefined && correlationData !== undefined);
    await responder.publish({
      topic: responseTopic,
      payload: "42",
      qos: 1,
      properties: [property.correlationData(correlationData)],
    });
    const response = await requester.receive();
    assert.equal(response.payload, "42");
    assert.deepEqual([...(response.properties.correlationData ?? [])], [...utf8("question 7")]);
  });
});
