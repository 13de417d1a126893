import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { after, before, describe, it } from "node:test";

import { interopServer, type InteropServer } from "./support/interop-server.ts";
import { lasting, TestClient } from "./support/mqttjs.ts";
import { firstBundle } from "./support/postern.ts";

let server: InteropServer;

before(async () => {
  server = await interopServer();
});
after(() => server[Symbol.asyncDispose]());

/** Around the sizes at which payloads stop being copied, fill a read, and need several. */
const sizes = [8_100, 8_192, 8_194, 20_000, 65_400, 65_536, 65_600, 131_072, 300_000, 1_000_000];
const payloads = sizes.map((size) => randomBytes(size / 2).toString("hex"));

const digest = (text: string): string => createHash("sha256").update(text).digest("hex");
const wanted = payloads.map(digest);

async function received(client: TestClient): Promise<string[]> {
  return (await client.texts(payloads.length)).map(digest);
}

/** All at once, so that packets begin and end anywhere in what the server reads. */
async function publishAll(topicOf: (index: number) => string, retain: boolean): Promise<void> {
  await using publisher = await TestClient.connect(server.url);
  await Promise.all(
    payloads.map((payload, index) => publisher.publish(topicOf(index), payload, { qos: 2, retain })),
  );
}

describe("large payloads", () => {
  it("reach every subscriber unchanged and in order, whatever its version, QoS and transport", async () => {
    const { ca, certificate, key } = firstBundle(server.data);
    const device = { ca, cert: certificate, key };
    const transports = [
      [server.url, {}],
      [server.webSocketUrl, {}],
      [server.tlsUrl, device],
      [server.secureWebSocketUrl, device],
    ] as const;
    // Aliases and an expiry make packets that no other subscriber gets.
    const properties = { topicAliasMaximum: 10 };
    await using stack = new AsyncDisposableStack();
    const clients: TestClient[] = [];
    for (const [url, own] of transports) {
      for (const options of [{ protocolVersion: 4 }, { protocolVersion: 5 }, { properties }] as const) {
        for (const qos of [0, 1, 2] as const) {
          const client = stack.use(await TestClient.connect(url, { ...own, ...options }));
          clients.push(client);
          await client.subscribe("large/#", { qos });
        }
      }
    }
    await publishAll(() => "large/payload", false);
    for (const client of clients) assert.deepEqual(await received(client), wanted);
  });

  it("wait unchanged for a client that is away, and stay as retained messages", async () => {
    const session = lasting(60);
    const away = await TestClient.connect(server.url, session);
    await away.subscribe("waiting/#", { qos: 1 });
    await away.end();
    await publishAll((index) => `waiting/${index}`, true);
    await using back = await TestClient.connect(server.url, { ...session, clean: false });
    assert.deepEqual(await received(back), wanted);
    await using late = await TestClient.connect(server.url);
    await late.subscribe("waiting/#", { qos: 0 });
    assert.deepEqual((await received(late)).toSorted(), wanted.toSorted());
  });
});
