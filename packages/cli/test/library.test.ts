import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import type { CertificateBundle } from "@postern/core/bundle";
import {
  ClosedError,
  ConnectionError,
  PublishRefusedError,
  ServerRefusedError,
  connect,
  type Device,
  type Message,
  type Subscription,
} from "@postern/device/index";

import { issueRoot } from "@postern/pki/issue";

import { Proxy } from "./support/broker.ts";
import { configured, tlsAlone } from "./support/configurations.ts";
import { days } from "./support/plant.ts";
import { firstBundle, scratch, up, type Scratch, type TestServer } from "./support/postern.ts";
import { portOf } from "./support/raw.ts";

let directory: Scratch;
let server: TestServer;
let bundle: CertificateBundle;

before(async () => {
  directory = scratch();
  server = await up(configured(directory.path, tlsAlone));
  bundle = firstBundle(server.data);
});

after(async () => {
  await server[Symbol.asyncDispose]();
  directory[Symbol.dispose]();
});

/** A device with a session of its own. */
function open(clientId: string, options: Parameters<typeof connect>[1] = {}): Promise<Device> {
  return connect(bundle, { clientId, sessionExpirySeconds: 0, retryMsMin: 20, ...options });
}

/** The bundle of a device that finds the server at a proxy. */
function throughProxy({ url }: Proxy): CertificateBundle {
  return { ...bundle, servers: [{ url: url.replace("mqtt:", "mqtts:") }] };
}

async function take(messages: Subscription, count: number): Promise<Message[]> {
  const taken: Message[] = [];
  while (taken.length < count) {
    const next = await messages.next();
    assert.ok(next.done !== true, `ended after ${taken.length} of ${count} messages`);
    taken.push(next.value);
  }
  return taken;
}

describe("the device library", () => {
  it("publishes and receives with each QoS, from the path of a bundle", async () => {
    const file = `${server.data}/bundles/first-device.json`;
    await using device = await connect(file, { sessionExpirySeconds: 0 });
    const messages = device.subscribe("a/+", { qos: 2 });
    assert.equal(await messages.ready, 2);
    assert.deepEqual(await device.publish("a/0", "zero", { qos: 0 }), { outcome: "sent" });
    for (const qos of [1, 2] as const) {
      const published = await device.publish(`a/${qos}`, Buffer.of(qos), { qos });
      assert.deepEqual(published, { outcome: "acknowledged", reasonCode: 0 });
    }
    const received = await take(messages, 3);
    assert.deepEqual(
      received.map(({ topic, qos, payload }) => [topic, qos, payload.toString("hex")]),
      [
        ["a/0", 0, "7a65726f"],
        ["a/1", 1, "01"],
        ["a/2", 2, "02"],
      ],
    );
    assert.equal(received[0]?.text(), "zero");
  });

  it("gives again what was received and not finished, in the next connection of the session", async () => {
    const session = { sessionExpirySeconds: 60 };
    await using sender = await open("b-sender");
    const first = await open("b", session);
    const begun = first.subscribe("b/#", { qos: 1 });
    await begun.ready;
    for (const text of ["1", "2", "3"]) await sender.publish("b/x", text);
    // The second is in hand and not finished, the third waits.
    assert.deepEqual(
      (await take(begun, 2)).map((message) => message.text()),
      ["1", "2"],
    );
    await first.close();
    await sender.publish("b/x", "4");
    await using second = await open("b", session);
    // They may come before there is a loop: they wait for it.
    const again = second.subscribe("b/#", { qos: 1 });
    assert.deepEqual(
      (await take(again, 3)).map((message) => message.text()),
      ["2", "3", "4"],
    );
  });

  it("publishes from within a loop, with as many messages waiting as may", async () => {
    await using device = await open("c", { receiveMaximum: 4 });
    await using sender = await open("c-sender");
    const requests = device.subscribe("c/request", { qos: 1 });
    const answers = sender.subscribe("c/answer", { qos: 1 });
    await Promise.all([requests.ready, answers.ready]);
    const all = Promise.all(Array.from({ length: 30 }, (_, n) => sender.publish("c/request", String(n))));
    let count = 0;
    for await (const request of requests) {
      await device.publish("c/answer", request.text());
      if (++count === 30) break;
    }
    await all;
    const texts = (await take(answers, 30)).map((message) => Number(message.text()));
    assert.deepEqual(
      texts,
      Array.from({ length: 30 }, (_, n) => n),
    );
  });

  it("gives a message to each of several overlapping subscriptions once", async () => {
    await using device = await open("d");
    const wide = device.subscribe("d/#", { qos: 1 });
    const narrow = device.subscribe("d/x", { qos: 1 });
    const same = device.subscribe("d/x", { qos: 1 });
    await Promise.all([wide.ready, narrow.ready, same.ready]);
    await device.publish("d/x", "one");
    await device.publish("d/x", "two");
    for (const messages of [wide, narrow, same]) {
      assert.deepEqual(
        (await take(messages, 2)).map((message) => message.text()),
        ["one", "two"],
      );
    }
  });

  it("drops the oldest of QoS 0 when nobody takes them, says so, and goes on", async () => {
    await using device = await open("e");
    const messages = device.subscribe("e", { qos: 0, bufferMax: 3 });
    await messages.ready;
    for (const text of ["1", "2", "3", "4"]) await device.publish("e", text, { qos: 0 });
    await once(device, "dropped");
    assert.deepEqual(
      (await take(messages, 3)).map((message) => message.text()),
      ["2", "3", "4"],
    );
    assert.equal(messages.dropped, 1);
  });

  it("connects again when the connection breaks, loses nothing of QoS 1 and 2 and takes nothing twice", async () => {
    await using proxy = await Proxy.start(portOf(server.urls[0]));
    const behind = throughProxy(proxy);
    const options = { sessionExpirySeconds: 60, retryMsMin: 20 };
    await using device = await connect(behind, { clientId: "f", ...options });
    await using sender = await open("f-sender");
    const messages = device.subscribe("f/in", { qos: 2 });
    const answers = sender.subscribe("f/out", { qos: 2 });
    await Promise.all([messages.ready, answers.ready]);
    const sent = Array.from({ length: 60 }, (_, n) => String(n));
    const publishing = (async () => {
      for (const text of sent) await sender.publish("f/in", text, { qos: 2 });
    })();
    const echoed: Promise<unknown>[] = [];
    for await (const message of messages) {
      echoed.push(device.publish("f/out", message.text(), { qos: 2 }));
      if (echoed.length % 20 === 10) {
        proxy.cut();
        await once(device, "connected");
      }
      if (echoed.length === sent.length) break;
    }
    await publishing;
    await Promise.all(echoed);
    assert.deepEqual(
      (await take(answers, sent.length)).map((message) => message.text()),
      sent,
    );
    assert.equal(device.state, "connected");
  });

  it("subscribes again where the server forgot the session", async () => {
    await using proxy = await Proxy.start(portOf(server.urls[0]));
    const behind = throughProxy(proxy);
    const session = { clientId: "g", sessionExpirySeconds: 0, retryMsMin: 20 };
    await using device = await connect(behind, session);
    const messages = device.subscribe("g", { qos: 1 });
    await messages.ready;
    proxy.cut();
    await once(device, "connected");
    await using sender = await open("g-sender");
    // The SUBSCRIBE was written before this: the server reads it first.
    await device.publish("g", "own");
    await sender.publish("g", "other");
    assert.deepEqual(
      (await take(messages, 2)).map((message) => message.text()),
      ["own", "other"],
    );
  });

  it("keeps a status topic: online, offline when it closes, offline when it vanishes", async () => {
    await using watcher = await open("h-watcher");
    const states = watcher.subscribe("devices/first-device/status", { qos: 1 });
    await states.ready;
    const device = await open("h", { status: true });
    await device.close();
    await using proxy = await Proxy.start(portOf(server.urls[0]));
    const behind = throughProxy(proxy);
    await using vanishing = await connect(behind, {
      clientId: "h2",
      sessionExpirySeconds: 0,
      status: { online: "here", offline: "gone" },
    });
    await take(states, 3).then((messages) =>
      assert.deepEqual(
        messages.map((message) => message.text()),
        ["online", "offline", "here"],
      ),
    );
    assert.equal(vanishing.state, "connected");
    proxy.isCut = true;
    proxy.cut();
    const [gone] = await take(states, 1);
    assert.equal(gone?.text(), "gone");
  });

  it("ends loops and calls by a signal, with its reason, and by close without one", async () => {
    await using device = await open("i");
    const over = new AbortController();
    const messages = device.subscribe("i", { signal: over.signal });
    const waiting = messages.next();
    over.abort(new Error("enough"));
    await assert.rejects(waiting, /enough/);
    await assert.rejects(device.publish("i", "x", { signal: over.signal }), /enough/);
    const other = device.subscribe("i/2");
    const end = other.next();
    await device.close();
    assert.deepEqual(await end, { done: true, value: undefined });
    assert.equal(device.state, "closed");
    await assert.rejects(device.publish("i", "x"), ClosedError);
    assert.throws(() => device.subscribe("i"), ClosedError);
    await assert.rejects(connect(bundle, { signal: over.signal }), /enough/);
  });

  it("rejects what the server refuses, and does not connect to another server", async () => {
    await using device = await open("j");
    const refused = device.subscribe("$nobody/knows", { qos: 1 });
    await assert.rejects(
      refused.next(),
      (thrown) => thrown instanceof ServerRefusedError && thrown.reasonCode === 0x87,
    );
    await assert.rejects(refused.ready, ServerRefusedError);
    await assert.rejects(
      device.publish("$nobody/knows", "x"),
      (thrown) => thrown instanceof PublishRefusedError && thrown.reasonCode === 0x87,
    );
    assert.throws(() => device.subscribe("a/#/b"), TypeError);
    assert.throws(() => void device.publish("a/#", "x"), TypeError);
    const stranger = (await issueRoot({ commonName: "Stranger", validity: days(-1, 1) })).certificate;
    await assert.rejects(
      connect({ ...bundle, ca: stranger }),
      (thrown) => thrown instanceof ConnectionError && !thrown.retry,
    );
  });

  it("waits for a server that is not there yet, where asked to, and sends then", async () => {
    await using proxy = await Proxy.start(portOf(server.urls[0]));
    proxy.isCut = true;
    const behind = throughProxy(proxy);
    const options = { clientId: "k", retryMsMin: 20, sessionExpirySeconds: 60 };
    await assert.rejects(connect(behind, options), ConnectionError);
    await using device = await connect(behind, { ...options, offline: true });
    assert.equal(device.state, "connecting");
    await using watcher = await open("k-watcher");
    const messages = watcher.subscribe("k/#", { qos: 1 });
    await messages.ready;
    assert.deepEqual(await device.publish("k/0", "x", { qos: 0 }), { outcome: "dropped" });
    const published = Promise.all(["1", "2"].map((text) => device.publish("k/1", text)));
    proxy.isCut = false;
    await published;
    assert.deepEqual(
      (await take(messages, 2)).map((message) => message.text()),
      ["1", "2"],
    );
  });

  it("keeps what the server has not acknowledged over a restart of the process, where there is a store", async () => {
    await using proxy = await Proxy.start(portOf(server.urls[0]));
    proxy.isCut = true;
    const store = join(directory.path, "outgoing");
    const session = { clientId: "l", retryMsMin: 20, sessionExpirySeconds: 60, store };
    await using watcher = await open("l-watcher");
    const messages = watcher.subscribe("l/#", { qos: 2 });
    await messages.ready;
    const first = await connect(throughProxy(proxy), { ...session, offline: true });
    const correlationData = Buffer.of(0, 255);
    const lost = [
      first.publish("l/1", Buffer.of(1, 255), { properties: { correlationData } }),
      first.publish("l/2", "two", { qos: 2 }),
    ];
    const rejected = Promise.allSettled(lost);
    assert.equal(readdirSync(store).length, 2);
    await first.close();
    assert.ok((await rejected).every(({ status }) => status === "rejected"));

    await using second = await connect(bundle, session);
    await second.publish("l/3", "three");
    const [one, two, three] = await take(messages, 3);
    assert.deepEqual([one?.payload, one?.properties.correlationData], [Buffer.of(1, 255), correlationData]);
    assert.deepEqual([two?.text(), two?.qos, three?.text()], ["two", 2, "three"]);
    assert.deepEqual(readdirSync(store), []);
  });
});
