import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { describe, it } from "node:test";

import type { IClientOptions } from "mqtt";

import { run } from "../src/main.ts";
import { fakeContext } from "../src/testing.ts";
import { lasting, TestClient } from "./support/mqttjs.ts";
import { PermittedServer, roles } from "./support/permitted-server.ts";

const permissions = roles({
  writer: [
    `{ topics: ["people/#", "echo/#"], allow: [publish, subscribe, retain, will, persistentSession] }`,
  ],
  reader: [
    `{ topics: ["people/#", "echo/#"], allow: [subscribe] }`,
    `{ topics: ["echo/#"], allow: [publish] }`,
  ],
});

/** A site's own users: whoever gives the role as the password has it. */
async function userStore(): Promise<AsyncDisposable & { readonly url: string }> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { username, password }: { username?: string; password?: string } = JSON.parse(
        Buffer.concat(chunks).toString("utf8"),
      );
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ result: "allow", name: username, roles: [password], groups: [] }));
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  return {
    url: `http://127.0.0.1:${address.port}/`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

describe("identities that are not in the device registry", () => {
  it("have the roles that their directory gave them last, also for what they left behind before a restart", async () => {
    await using users = await userStore();
    await using server = await PermittedServer.start(
      permissions,
      `
listeners:
  - url: mqtts://127.0.0.1:0
  - url: mqtt://127.0.0.1:0
    insecure: true
authentication: { hook: { url: "${users.url}" } }
metrics: { url: off }
log: { level: error }
`,
    );
    const as = (username: string, password: string, options: IClientOptions = {}) =>
      TestClient.connect(server.plainUrl, { username, password, ...options });
    const session = lasting(300);
    {
      await using anna = await as("anna", "writer", session);
      await anna.subscribe("people/#", { qos: 1 });
      await anna.publish("people/note", "kept", { retain: true });
      assert.deepEqual(await anna.texts(1), ["kept"]);
      await anna.end();
      await using ben = await as("ben", "reader");
      await assert.rejects(ben.publish("people/note", "x"), /Not authorized|135/);
    }
    await server.restart();
    await using ben = await as("ben", "reader");
    await ben.subscribe("people/#");
    assert.deepEqual(await ben.texts(1), ["kept"]);
    {
      await using anna = await as("anna", "writer", session);
      assert.equal(anna.connack.sessionPresent, true);
      await anna.publish("people/note", "new", { retain: true });
      assert.deepEqual(await anna.texts(1), ["new"]);
      await anna.end();
    }
    const explained = fakeContext({ cwd: server.directory.path });
    const asked = ["permissions", "explain", "anna", "publish", "people/note", "--data", "."];
    assert.equal(await run(asked, explained), 0);
    assert.match(
      explained.out(),
      /^yes: anna may publish people\/note at QoS 0\n {2}permissions\.yaml:\d+: role writer/,
    );
    // With fewer rights than before, what she left is judged by those.
    await using reading = await as("anna", "reader", { ...session, clean: true });
    await assert.rejects(reading.publish("people/note", "x"), /Not authorized|135/);
    await server.permit(`${permissions}# again\n`);
    await using later = await as("ben", "reader");
    await later.subscribe("people/#");
    await later.assertNothingMore();
  });

  it("lose their connections and sessions when a device is added under their name, whose rights they never get", async () => {
    await using users = await userStore();
    await using server = await PermittedServer.start(
      permissions,
      `
listeners:
  - url: mqtts://127.0.0.1:0
  - url: mqtt://127.0.0.1:0
    insecure: true
authentication: { hook: { url: "${users.url}" } }
metrics: { url: off }
log: { level: error }
`,
    );
    const as = (options: IClientOptions = {}) =>
      TestClient.connect(server.plainUrl, { username: "anna", password: "reader", ...options });
    await using anna = await as(lasting(300));
    await assert.rejects(anna.publish("people/note", "x"), /Not authorized|135/);
    const cut = new Promise<void>((resolve) => anna.client.once("close", () => resolve()));
    const context = fakeContext({ cwd: server.directory.path });
    assert.equal(await run(["device", "add", "anna", "--role", "writer", "--data", "."], context), 0);
    await cut;
    await assert.rejects(as(), /Bad User Name or Password|Not authorized/);
  });
});
