import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { lasting, TestClient, withholding } from "../support/mqttjs.ts";
import { PermittedServer, roles } from "../support/permitted-server.ts";

const all = `{ topics: ["#"], allow: [publish, subscribe, will, retain, shared, persistentSession] }`;
const echo = `{ topics: ["echo/#"], allow: [publish, subscribe, persistentSession] }`;

const open = roles({ trusted: [all], suspect: [all] });
/** `suspect` keeps nothing but its echo. */
const closed = roles({ trusted: [all], suspect: [echo] });

function will(topic: string, seconds: number) {
  const properties = { willDelayInterval: seconds };
  return { topic, payload: Buffer.from("boo"), qos: 1 as const, retain: true, properties };
}

let server: PermittedServer;
before(async () => {
  server = await PermittedServer.start(open);
  await server.addDevice("guard", ["trusted"]);
  await server.addDevice("thief", ["suspect"]);
});
after(() => server[Symbol.asyncDispose]());

describe("attack 38: a will goes where its client may not publish (EMQX #8978, mochi #503)", () => {
  it("refuses CONNECT with a forbidden will, in MQTT 3.1.1 and 5, and takes an allowed one", async () => {
    await server.permit(closed);
    for (const protocolVersion of [4, 5] as const) {
      const options = { protocolVersion, will: will("alarm/all", 0) };
      await assert.rejects(server.connect("thief", options), /[Nn]ot authorized/);
      await using honest = await server.connect("guard", options);
      await honest.end();
    }
    assert.ok(server.audited("publish-refused").some(({ detail }) => detail === "will on alarm/all"));
  });

  it("looks at it again when it is due: at once, after a delay, and after a restart of the server", async () => {
    await server.permit(open);
    const now = await server.connect("thief", { clientId: "now", will: will("alarm/now", 0) });
    const later = await server.connect("thief", { ...lasting(60), will: will("alarm/later", 1) });
    const asleep = await server.connect("thief", { ...lasting(60), will: will("alarm/asleep", 60) });
    const honest = await server.connect("guard", { clientId: "honest", will: will("alarm/honest", 0) });
    await later.cut();
    await asleep.cut();
    await server.permit(closed);
    await now.cut();
    await honest.cut();
    await using watcher = await server.connect("guard", { clientId: "watcher" });
    await watcher.subscribe("alarm/#");
    assert.equal((await watcher.next()).topic, "alarm/honest");
    await server.until(
      () => server.audited("publish-refused").some(({ detail = "" }) => detail.includes("alarm/later")),
      "the delayed will",
    );
    await watcher.assertNothingMore();
    await server.restart();
    await using fresh = await server.connect("guard", { clientId: "fresh" });
    await server.permit(`${closed}# again\n`);
    // Its client comes back under the same name with a clean start: the session ends, and its will is due.
    await (await server.connect("thief", { clientId: asleep.client.options.clientId ?? "" })).end();
    await server.until(
      () => server.audited("publish-refused").some(({ detail = "" }) => detail.includes("alarm/asleep")),
      "the will of the session from before the restart",
    );
    await fresh.subscribe("alarm/#");
    assert.deepEqual(await fresh.texts(1), ["boo"]);
    await fresh.assertNothingMore();
  });
});

describe("attack 39: a retained message outlives the right to leave it (CVE-2018-12546, EMQX #10192)", () => {
  it("hides it at once, shows it again when the right is back, and keeps those of others", async () => {
    await server.permit(open);
    await using thief = await server.connect("thief");
    await using guard = await server.connect("guard");
    await thief.publish("board/lie", "lie", { retain: true });
    await guard.publish("board/news", "news", { retain: true });
    for (const [text, expected] of [
      [open, ["lie", "news"]],
      [closed, ["news"]],
      [open, ["lie", "news"]],
    ] as const) {
      await server.permit(`${text}# ${expected.length}${performance.now()}\n`);
      await using reader = await server.connect("guard");
      await reader.subscribe("board/#");
      assert.deepEqual((await reader.texts(expected.length)).toSorted(), expected);
      await reader.assertNothingMore();
    }
  });

  it("forgets it after purgeRetainedAfterMinutes, and when its device loses its role", async () => {
    await server.permit(open);
    await using thief = await server.connect("thief");
    await thief.publish("board/lie", "lie", { retain: true });
    const { retained } = await server.status();
    await server.permit(`purgeRetainedAfterMinutes: 0\n${open}`);
    await server.setRoles("thief", []);
    assert.ok((await server.status()).retained.messages < retained.messages);
    await server.setRoles("thief", ["suspect"]);
    await using reader = await server.connect("guard");
    await reader.subscribe("board/lie");
    await reader.assertNothingMore();
  });
});

describe("attack 40: a subscription outlives the right to it (CVE-2021-34434, EMQX #10396)", () => {
  it("ends at once for clients that are connected, of any kind of subscription, and leaves what is permitted", async () => {
    await server.permit(open);
    await using live = await server.connect("thief");
    await live.subscribe(["secret/#", "secret/exact", "$share/g/secret/#", "echo/kept"]);
    await using guard = await server.connect("guard");
    await guard.publish("secret/exact", "before");
    // Once by its own subscriptions and once by the shared one.
    assert.deepEqual(await live.texts(2), ["before", "before"]);
    await server.permit(closed);
    await guard.publish("secret/exact", "after");
    await guard.publish("echo/kept", "kept");
    assert.deepEqual(await live.texts(1), ["kept"]);
    await live.assertNothingMore();
    assert.equal(
      server.audited("permission-lost").filter(({ detail = "" }) => detail.includes("secret")).length,
      3,
    );
  });

  it("ends for clients that are away, also across a restart, and nothing that waited is delivered", async () => {
    await server.permit(open);
    const session = lasting(300);
    const away = await server.connect("thief", session);
    await away.subscribe(["secret/#", "echo/kept"]);
    await away.end();
    await using guard = await server.connect("guard");
    await guard.publish("secret/1", "waits");
    await guard.publish("echo/kept", "kept 1");
    await server.permit(closed);
    await guard.publish("secret/2", "comes too late");
    await guard.publish("echo/kept", "kept 2");
    {
      await using back = await server.connect("thief", session);
      assert.equal(back.connack.sessionPresent, true);
      assert.deepEqual(await back.texts(2), ["kept 1", "kept 2"]);
      await back.assertNothingMore();
      await back.end();
    }
    // What changes while the server is down counts as well.
    await server.permit(open);
    {
      await using again = await server.connect("thief", session);
      await again.subscribe("secret/#");
      await again.end();
    }
    await server.stop();
    server.rewrite(closed);
    await server.restart();
    await using later = await server.connect("guard");
    await later.publish("secret/3", "nobody's");
    await using back = await server.connect("thief", session);
    await back.assertNothingMore();
  });

  it("ends when a device loses its role or is revoked, and a session that may no longer be kept ends", async () => {
    await server.permit(open);
    const session = lasting(300);
    await using live = await server.connect("thief", session);
    await live.subscribe("secret/#");
    await server.setRoles("thief", []);
    await using guard = await server.connect("guard");
    await guard.publish("secret/4", "x");
    await live.end();
    await server.setRoles("thief", ["suspect"]);
    await using back = await server.connect("thief", session);
    assert.equal(back.connack.sessionPresent, false);
    await back.assertNothingMore();
  });
});

describe("attack 41: what is in flight is delivered after the right is lost (mosquitto 2.0.12, mochi #504, emitter #389)", () => {
  it("sends nothing again that may not be received any more", async () => {
    await server.permit(open);
    const session = lasting(300);
    const slow = await server.connect("thief", { ...session, ...withholding });
    await slow.subscribe(["secret/#", "echo/kept"]);
    await using guard = await server.connect("guard");
    for (const qos of [1, 2] as const) await guard.publish("secret/in-flight", `secret ${qos}`, { qos });
    await guard.publish("echo/kept", "kept");
    await slow.until(() => slow.count("publish") === 3, "three messages");
    await slow.cut();
    await server.permit(closed);
    await using back = await server.connect("thief", session);
    const again = await back.next();
    assert.deepEqual([again.text, again.dup], ["kept", true]);
    await back.assertNothingMore();
  });

  it("passes on at PUBREL nothing of a QoS 2 message that came while it was permitted, and nothing that was not", async () => {
    await server.permit(open);
    await using guard = await server.connect("guard");
    await guard.subscribe("open/#");
    await using thief = await server.connect("thief");
    await thief.publish("open/1", "permitted", { qos: 2 });
    assert.deepEqual(await guard.texts(1), ["permitted"]);
    await server.permit(closed);
    await assert.rejects(thief.publish("open/2", "not permitted", { qos: 2 }), /Not authorized|135/);
    await guard.assertNothingMore();
    await using anew = await TestClient.connect(server.plainUrl);
    await assert.rejects(anew.publish("open/3", "anonymous", { qos: 2 }), /Not authorized|135/);
    await guard.assertNothingMore();
  });
});
