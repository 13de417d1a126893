import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { readCertificateBundle } from "@postern/identity/testing";
import type { IClientOptions } from "mqtt";

import { configured } from "../support/configurations.ts";
import { TestClient } from "../support/mqttjs.ts";
import { command, scratch, up, type TestServer } from "../support/postern.ts";

const never = 0xff_ff_ff_ff;

function config(limits: string): string {
  return `listeners: [{ url: mqtts://127.0.0.1:0 }]\nlimits: { ${limits} }\nmetrics: { url: off }\nest: { url: off }\n`;
}

/** A running server with the devices named, which may use all topics. */
async function start(directory: string, text: string, devices: readonly string[]) {
  const args = configured(directory, text);
  const server: TestServer = await up(args);
  for (const name of devices) {
    const { code, stderr } = await command(["device", "add", name, "--role", "administrator", ...args]);
    assert.equal(code, 0, stderr);
  }
  return {
    server,
    connect(device: string, options: IClientOptions): Promise<TestClient> {
      const {
        ca,
        certificate: cert,
        key,
      } = readCertificateBundle(join(server.data, "bundles", `${device}.json`));
      return TestClient.connect(server.urls[0] ?? "", { ca, cert, key, ...options });
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** A session that outlives its connection, in either version. */
function persistent(protocolVersion: 4 | 5, clientId: string): IClientOptions {
  const properties = protocolVersion === 5 ? { properties: { sessionExpiryInterval: 600 } } : {};
  return { protocolVersion, clientId, clean: false, ...properties };
}

describe("attack 46: another identity takes over a session by its client id", () => {
  it("is refused in MQTT 3.1.1 and 5, with and without clean start; the victim stays, and so does its queue", async () => {
    using directory = scratch();
    await using place = await start(directory.path, config(""), ["victim", "thief"]);
    for (const version of [4, 5] as const) {
      const clientId = `meter-${version}`;
      const victim = await place.connect("victim", persistent(version, clientId));
      await victim.client.subscribeAsync("secrets/#", { qos: 1 });
      const attempts = [4, 5] as const;
      const steal = async (): Promise<void> => {
        for (const protocolVersion of attempts)
          for (const clean of [true, false])
            await assert.rejects(
              place.connect("thief", { ...persistent(protocolVersion, clientId), clean }),
              /Not authorized/,
              `${version}: as ${protocolVersion}, clean ${clean}`,
            );
      };
      await using other = await place.connect("thief", { protocolVersion: 5, clientId: "own" });
      await steal();
      assert.ok(victim.client.connected);
      await other.client.publishAsync("secrets/a", "while here", { qos: 1 });
      assert.equal((await victim.next()).text, "while here");

      // mosquitto #3553: the queue of a client that is away.
      await victim[Symbol.asyncDispose]();
      await other.client.publishAsync("secrets/a", "while away", { qos: 1 });
      await steal();
      await using back = await place.connect("victim", persistent(version, clientId));
      assert.equal((await back.next()).text, "while away");
    }
  });

  it("and the same identity takes over its own session, as it may", async () => {
    using directory = scratch();
    await using place = await start(directory.path, config(""), ["victim"]);
    await using first = await place.connect("victim", persistent(5, "meter"));
    await first.client.subscribeAsync("a", { qos: 1 });
    await using second = await place.connect("victim", persistent(5, "meter"));
    await second.client.publishAsync("a", "still subscribed", { qos: 1 });
    assert.equal((await second.next()).text, "still subscribed");
    assert.ok(!first.client.connected);
  });
});

function forever(clientId: string): IClientOptions {
  return { protocolVersion: 5, clientId, clean: false, properties: { sessionExpiryInterval: never } };
}

describe("attack 48: one credential fills the server with sessions that never expire", () => {
  it("has as many sessions as one identity may have; other devices and its own sessions go on", async () => {
    using directory = scratch();
    await using place = await start(directory.path, config("sessionsPerIdentityMax: 4"), [
      "greedy",
      "honest",
    ]);
    for (let count = 0; count < 4; count += 1)
      await (await place.connect("greedy", forever(`s${count}`)))[Symbol.asyncDispose]();
    for (let count = 4; count < 12; count += 1)
      await assert.rejects(place.connect("greedy", forever(`s${count}`)), /Quota exceeded/);
    await assert.rejects(
      place.connect("greedy", { protocolVersion: 4, clientId: "s", clean: true }),
      /refused/i,
    );
    await using back = await place.connect("greedy", forever("s0"));
    assert.ok(back.client.connected);
    await using honest = await place.connect("honest", forever("s4"));
    assert.ok(honest.client.connected);
  });
});

describe("attack 50: wills that are due after their session, or never", () => {
  it("are published when the session ends at the latest, and the server goes on (CVE-2019-11778)", async () => {
    using directory = scratch();
    await using place = await start(directory.path, config(""), ["device", "watcher"]);
    await using watcher = await place.connect("watcher", { protocolVersion: 5 });
    await watcher.client.subscribeAsync("will/#", { qos: 1 });
    const lose = async (
      name: string,
      willDelayInterval: number,
      sessionExpiryInterval: number,
    ): Promise<void> => {
      const own = await place.connect("device", {
        protocolVersion: 5,
        clientId: name,
        clean: true,
        properties: { sessionExpiryInterval },
        will: {
          topic: `will/${name}`,
          payload: Buffer.from("lost"),
          qos: 1,
          retain: false,
          properties: { willDelayInterval },
        },
      });
      own.client.stream.destroy();
      await own[Symbol.asyncDispose]();
    };
    await lose("at-once", never, 0);
    assert.equal((await watcher.next()).topic, "will/at-once");
    await lose("at-the-end", never, 1);
    assert.equal((await watcher.next()).topic, "will/at-the-end");
    await lose("after-its-delay", 1, never);
    assert.equal((await watcher.next()).topic, "will/after-its-delay");
    await lose("not-yet", 60, never);
    await delay(300);
    await watcher.client.publishAsync("will/other", "the server lives", { qos: 1 });
    assert.equal((await watcher.next()).text, "the server lives");
  });
});
