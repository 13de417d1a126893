import assert from "node:assert/strict";
import { after, describe, it } from "node:test";

import type { AcceptedState, StoredMessage } from "@postern/core/session-store";
import { MemorySessionStore } from "@postern/store/memory-session-store";

import type { AuthenticationStep, BrokerPorts, Bus, PayloadRule, PayloadRules } from "../src/ports.ts";
import { authorizerBy, openBroker, permissionsBy, type OpenBroker } from "../src/testing/open-broker.ts";
import * as packets from "./support/packets.ts";
import { property } from "./support/packets.ts";
import { RawClient, type Address } from "./support/raw-client.ts";

const brokers: OpenBroker[] = [];
after(() => Promise.all(brokers.map(({ broker }) => broker.close())));

async function start(
  ports: Partial<BrokerPorts>,
  limits = {},
): Promise<OpenBroker & { readonly address: Address }> {
  const opened = openBroker({ store: new MemorySessionStore(), ports, limits });
  brokers.push(opened);
  const { port } = await opened.listen();
  return { ...opened, address: { host: "127.0.0.1", port } };
}

async function client(address: Address, options: packets.ConnectOptions = {}, version: packets.Version = 5) {
  const raw = await RawClient.open(address, version);
  await raw.connect({ clientId: `c${Math.random()}`, ...options });
  return raw;
}

/** Who the user name says, as long as the password is "right". */
function byName(delayMs = 0): Partial<BrokerPorts> {
  return {
    authenticator: {
      exchange: () => undefined,
      async authenticate({ username, password }) {
        if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
        return username !== undefined &&
          password !== undefined &&
          Buffer.from(password).toString() === "right"
          ? { kind: "accepted", identity: { name: username, anonymous: false }, untilMs: Infinity }
          : { kind: "refused", reasonCode: 0x86, reason: "wrong password" };
      },
    },
  };
}

const as = (username: string, password = "right") => ({ username, password });

describe("authenticator port", () => {
  it("holds back all that follows CONNECT until the answer is there, then handles it in order", async () => {
    const { address } = await start(byName(100));
    await using raw = await RawClient.open(address, 5);
    raw.send(
      packets.connect(5, { clientId: "a", ...as("device") }),
      packets.subscribe(5, 1, [["t", 0]]),
      packets.publish(5, { topic: "t", payload: "x" }),
      packets.pingreq,
    );
    assert.equal((await raw.expect("connack")).reasonCode, 0);
    await raw.expect("suback");
    await raw.expect("publish");
    await raw.expect("pingresp");
  });

  it("does nothing of what a refused client sent after CONNECT", async () => {
    const { address, broker, events } = await start(byName(50));
    for (const version of [4, 5] as const) {
      await using raw = await RawClient.open(address, version);
      raw.send(
        packets.connect(version, { clientId: "a", ...as("device", "wrong") }),
        packets.publish(version, { topic: "t", payload: "x", retain: true }),
      );
      assert.equal((await raw.expect("connack")).reasonCode, version === 5 ? 0x86 : 4);
      await raw.expectClosed();
    }
    assert.equal(broker.snapshot().retainedMessages, 0);
    assert.equal(broker.snapshot().sessions, 0);
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ["connect-refused", "connect-refused"],
    );
  });

  it("lets nobody in when it fails", async () => {
    const { address } = await start({
      authenticator: {
        exchange: () => undefined,
        authenticate: () => Promise.reject(new Error("backend down")),
      },
    });
    await using raw = await RawClient.open(address, 5);
    raw.send(packets.connect(5, { clientId: "a" }));
    assert.equal((await raw.expect("connack")).reasonCode, 0x88);
    await raw.expectClosed();
  });

  it("survives a client that leaves while the answer is awaited", async () => {
    const { address, broker } = await start(byName(80));
    const raw = await RawClient.open(address, 5);
    raw.send(packets.connect(5, { clientId: "a", ...as("device") }));
    await raw.drop();
    await new Promise((resolve) => setTimeout(resolve, 150));
    assert.equal(broker.snapshot().sessions, 0);
    await using honest = await client(address, as("other"));
    await honest.ping();
  });

  it("keeps a session for its owner: another identity with the client id is refused, the first one stays", async () => {
    const { address } = await start(byName());
    const persistent = { clean: false, properties: [property.sessionExpiryInterval(60)] };
    await using owner = await client(address, { clientId: "x", ...as("owner"), ...persistent });
    await owner.subscribe("t", 1);
    for (const clean of [true, false]) {
      await using thief = await RawClient.open(address, 5);
      thief.send(packets.connect(5, { clientId: "x", ...as("thief"), clean }));
      assert.equal((await thief.expect("connack")).reasonCode, 0x87);
      await thief.expectClosed();
    }
    await owner.ping();
    await owner.disconnect();
    await using offlineThief = await RawClient.open(address, 5);
    offlineThief.send(packets.connect(5, { clientId: "x", ...as("thief"), clean: false }));
    assert.equal((await offlineThief.expect("connack")).reasonCode, 0x87);
    await using back = await client(address, { clientId: "x", ...as("owner"), ...persistent });
    assert.equal(back.connack.sessionPresent, true);
  });

  it("caps the sessions of one identity with 0x97 (sessionsPerIdentityMax), not those of others", async () => {
    const { address } = await start(byName(), { sessionsPerIdentityMax: 2 });
    await using first = await client(address, { clientId: "1", ...as("device") });
    const second = await client(address, { clientId: "2", ...as("device") });
    await using third = await RawClient.open(address, 5);
    third.send(packets.connect(5, { clientId: "3", ...as("device") }));
    assert.equal((await third.expect("connack")).reasonCode, 0x97);
    await using other = await client(address, { clientId: "4", ...as("other") });
    await second.disconnect();
    await using again = await client(address, { clientId: "3", ...as("device") });
    for (const raw of [first, other, again]) await raw.ping();
  });
});

/** Two rounds: the client must answer "challenge" with "response". */
function challenge(identity: () => string = () => "device"): Partial<BrokerPorts> {
  return {
    authenticator: {
      authenticate: () => ({ kind: "refused", reasonCode: 0x87, reason: "enhanced authentication only" }),
      exchange(method) {
        if (method !== "TEST") return undefined;
        let round = 0;
        return {
          async next(data): Promise<AuthenticationStep> {
            await Promise.resolve();
            round += 1;
            if (round === 1) return { kind: "continue", data: Buffer.from("challenge") };
            return data !== undefined && Buffer.from(data).toString() === "response"
              ? {
                  kind: "accepted",
                  identity: { name: identity(), anonymous: false },
                  untilMs: Infinity,
                  data: Buffer.from("done"),
                }
              : { kind: "refused", reasonCode: 0x87, reason: "wrong response" };
          },
        };
      },
    },
  };
}

const method = property.authenticationMethod("TEST");
const response = property.authenticationData("response");

async function connectByChallenge(address: Address): Promise<RawClient> {
  const raw = await RawClient.open(address, 5);
  raw.send(packets.connect(5, { clientId: "a", properties: [method] }));
  assert.equal((await raw.expect("auth")).reasonCode, 0x18);
  raw.send(packets.auth(0x18, [method, response]));
  assert.equal((await raw.expect("connack")).reasonCode, 0);
  return raw;
}

describe("enhanced authentication (MQTT 5.0 §4.12)", () => {
  it("exchanges AUTH until the method is satisfied, then sends CONNACK", async () => {
    const { address } = await start(challenge());
    await using raw = await connectByChallenge(address);
    await raw.ping();
  });

  it("refuses an unknown method with 0x8C and a wrong response with the method's reason", async () => {
    const { address } = await start(challenge());
    await using unknown = await RawClient.open(address, 5);
    unknown.send(packets.connect(5, { clientId: "a", properties: [property.authenticationMethod("NO")] }));
    assert.equal((await unknown.expect("connack")).reasonCode, 0x8c);
    await using wrong = await RawClient.open(address, 5);
    wrong.send(packets.connect(5, { clientId: "a", properties: [method] }));
    await wrong.expect("auth");
    wrong.send(packets.auth(0x18, [method, property.authenticationData("guess")]));
    assert.equal((await wrong.expect("connack")).reasonCode, 0x87);
    await wrong.expectClosed();
  });

  it("takes nothing but AUTH and DISCONNECT before CONNACK (MQTT 5.0 §4.12)", async () => {
    const { address, broker } = await start(challenge());
    await using raw = await RawClient.open(address, 5);
    raw.send(packets.connect(5, { clientId: "a", properties: [method] }));
    await raw.expect("auth");
    raw.send(packets.publish(5, { topic: "t", payload: "x", retain: true }));
    await raw.closesOrSends();
    assert.equal(broker.snapshot().retainedMessages, 0);
  });

  it("re-authenticates on a running connection, as the same identity only", async () => {
    let name = "device";
    const { address } = await start(challenge(() => name));
    await using raw = await connectByChallenge(address);
    raw.send(packets.auth(0x19, [method]));
    assert.equal((await raw.expect("auth")).reasonCode, 0x18);
    raw.send(packets.auth(0x18, [method, response]));
    assert.equal((await raw.expect("auth")).reasonCode, 0);
    name = "another";
    raw.send(packets.auth(0x19, [method]));
    await raw.expect("auth");
    raw.send(packets.auth(0x18, [method, response]));
    await raw.expectDisconnect(0x87);
  });

  it("ends the connection when the method changes in the middle", async () => {
    const { address } = await start(challenge());
    await using raw = await RawClient.open(address, 5);
    raw.send(packets.connect(5, { clientId: "a", properties: [method] }));
    await raw.expect("auth");
    raw.send(packets.auth(0x18, [property.authenticationMethod("OTHER"), response]));
    assert.equal((await raw.expect("connack")).reasonCode, 0x82);
    await raw.expectClosed();
  });
});

describe("authorizer port", () => {
  const guarded: Partial<BrokerPorts> = {
    authorizer: authorizerBy(() =>
      permissionsBy({
        mayPublish: (topic) => !topic.startsWith("no/"),
        maySubscribe: (filter) => !filter.startsWith("no/") && !filter.startsWith("#"),
      }),
    ),
  };

  it("refuses a publish with 0x87, in MQTT 3.1.1 acknowledges and drops it ([MQTT-3.3.5-2])", async () => {
    const { address, broker, events } = await start(guarded);
    await using five = await client(address);
    assert.equal(await five.publish({ topic: "no/x", payload: "x", qos: 1, retain: true }), 0x87);
    assert.equal(await five.publish({ topic: "no/x", payload: "x", qos: 2, retain: true }), 0x87);
    await using four = await client(address, {}, 4);
    await four.publish({ topic: "no/x", payload: "x", qos: 1, retain: true });
    await four.publish({ topic: "no/x", payload: "x", qos: 2, retain: true });
    assert.equal(broker.snapshot().retainedMessages, 0);
    assert.equal(events.filter(({ kind }) => kind === "publish-refused").length, 4);
    assert.equal(await five.publish({ topic: "yes", payload: "x", qos: 1 }), 0x10);
  });

  it("refuses each filter by itself", async () => {
    const { address } = await start(guarded);
    await using five = await client(address);
    assert.deepEqual(
      (await five.subscribe(["yes", "no/x", "#", "$share/g/no/x"])).reasonCodes,
      [0, 0x87, 0x87, 0x87],
    );
    await using four = await client(address, {}, 4);
    assert.deepEqual((await four.subscribe(["yes", "no/x"])).reasonCodes, [0, 0x80]);
  });

  it("refuses CONNECT with a will that its client may not publish", async () => {
    const { address, broker } = await start(guarded);
    await using raw = await RawClient.open(address, 5);
    raw.send(packets.connect(5, { clientId: "a", will: { topic: "no/x", payload: "x" } }));
    assert.equal((await raw.expect("connack")).reasonCode, 0x87);
    assert.equal(broker.snapshot().wills, 0);
  });
});

function sealedWill(payload: string): Uint8Array {
  return packets.connect(5, { clientId: "a", will: { topic: "sealed", payload } });
}

describe("payload rules port", () => {
  const first = Buffer.from("sealed 1");
  const asked: string[] = [];
  const rule: PayloadRule = {
    check(bytes, { repeated }) {
      const payload = Buffer.from(bytes);
      if (first.equals(payload) && repeated) return { kind: "repeated", checks: 0 };
      if (payload.toString() === "slow") return { kind: "accepted", payload, checks: 1_000 };
      return payload.subarray(0, 6).toString() === "sealed"
        ? { kind: "accepted", payload: payload.subarray(7), checks: 1 }
        : { kind: "refused", reasonCode: 0x99, reason: "it is not sealed", checks: 0 };
    },
    confidential: false,
    fits: ({ payload }) => payload.length < 3,
  };
  let isRuled = true;
  const payloadRules: PayloadRules = {
    ruleOn(topic) {
      asked.push(topic);
      return isRuled && topic.startsWith("sealed") ? rule : undefined;
    },
    load() {},
    takeAccepted: () => [],
  };

  it("refuses a message with the rule's reason code, passes on what is accepted, and asks once for each topic", async () => {
    const { address, events, broker } = await start({ payloadRules });
    await using raw = await client(address);
    await raw.subscribe("#");
    for (const qos of [1, 2] as const)
      assert.equal(await raw.publish({ topic: "sealed", payload: "plain", qos }), 0x99);
    assert.equal(await raw.publish({ topic: "sealed", payload: "sealed 1", qos: 1 }), 0);
    assert.equal((await raw.receive()).payload, "1");
    assert.equal(await raw.publish({ topic: "open", payload: "plain", qos: 1 }), 0);
    assert.equal((await raw.receive()).topic, "open");
    assert.deepEqual(asked, ["sealed", "open"]);
    const refusals = events.filter(({ kind }) => kind === "publish-refused");
    assert.deepEqual(
      refusals.map(({ detail }) => detail),
      Array(2).fill("sealed: its payload: it is not sealed"),
    );
    const { payloadsChecked, payloadsRefused, signaturesChecked } = broker.snapshot().counters;
    assert.deepEqual([payloadsChecked, payloadsRefused, signaturesChecked], [3, 2, 1]);
  });

  it("acknowledges in MQTT 3 what it refuses, as that has no other answer, and does not pass it on", async () => {
    const { address } = await start({ payloadRules });
    await using subscriber = await client(address);
    await subscriber.subscribe("#");
    await using four = await client(address, {}, 4);
    assert.equal(await four.publish({ topic: "sealed", payload: "plain", qos: 1 }), 0);
    assert.equal(await four.publish({ topic: "open", payload: "after it", qos: 1 }), 0);
    assert.equal((await subscriber.receive()).payload, "after it");
  });

  it("acknowledges what is sent again without passing it on twice", async () => {
    const { address, broker } = await start({ payloadRules });
    await using raw = await client(address);
    await raw.subscribe("#");
    assert.equal(await raw.publish({ topic: "sealed", payload: first, qos: 1, dup: true }), 0);
    assert.equal(await raw.publish({ topic: "open", payload: "next", qos: 1 }), 0);
    assert.equal((await raw.receive()).topic, "open");
    assert.equal(broker.snapshot().counters.payloadsRepeated, 1);
  });

  it("ends a retained message for whoever may retain there, and hands nobody an empty payload", async () => {
    const { address, broker } = await start({ payloadRules });
    await using raw = await client(address);
    assert.equal(await raw.publish({ topic: "sealed", payload: "sealed 1", qos: 1, retain: true }), 0x10);
    await raw.subscribe("#");
    assert.equal((await raw.receive()).payload, "1");
    const retained = broker.snapshot().retainedMessages;
    assert.equal(await raw.publish({ topic: "sealed", payload: "", qos: 1, retain: true }), 0);
    assert.equal(broker.snapshot().retainedMessages, retained - 1);
    await raw.publish({ topic: "open", payload: "next", qos: 1 });
    assert.equal((await raw.receive()).topic, "open");
  });

  it("no longer hands out retained messages that do not fit a new rule", async () => {
    isRuled = false;
    const { address, broker } = await start({ payloadRules });
    await using raw = await client(address);
    await raw.publish({ topic: "sealed", payload: "plain", qos: 1, retain: true });
    await raw.publish({ topic: "sealed/ok", payload: "ok", qos: 1, retain: true });
    isRuled = true;
    broker.reauthorize();
    await raw.subscribe("sealed/#");
    assert.equal((await raw.receive()).topic, "sealed/ok");
    await raw.expectNothing();
  });

  it("refuses CONNECT with a will that is not sealed as its topic demands, and publishes what is accepted", async () => {
    const { address } = await start({ payloadRules });
    await using refused = await RawClient.open(address, 5);
    refused.send(sealedWill("plain"));
    assert.equal((await refused.expect("connack")).reasonCode, 0x99);
    await using old = await RawClient.open(address, 4);
    old.send(packets.connect(4, { clientId: "b", will: { topic: "sealed", payload: "plain" } }));
    assert.equal((await old.expect("connack")).reasonCode, 5);
    await using subscriber = await client(address);
    await subscriber.subscribe("#");
    await using leaver = await RawClient.open(address, 5);
    leaver.send(sealedWill("sealed 1"));
    assert.equal((await leaver.expect("connack")).reasonCode, 0);
    await leaver.drop();
    assert.equal((await subscriber.receive()).payload, "1");
  });

  it("keeps what was accepted in one group with the messages that are stored, and otherwise within moments", async () => {
    const store = new MemorySessionStore({ journal: true });
    let changed: AcceptedState[] = [];
    const opened = openBroker({
      store,
      ports: {
        payloadRules: {
          ruleOn: () => ({
            confidential: false,
            fits: () => true,
            check(bytes) {
              const payload = Buffer.from(bytes);
              changed = [{ sender: "device", state: payload }];
              return { kind: "accepted", payload, checks: 0 };
            },
          }),
          load() {},
          takeAccepted: () => changed.splice(0),
        },
      },
    });
    brokers.push(opened);
    const { port } = await opened.listen();
    await using raw = await client(
      { host: "127.0.0.1", port },
      { clientId: "durable", clean: false, properties: [property.sessionExpiryInterval(60)] },
    );
    const kept = () =>
      Array.from(store.afterCrash().loadAccepted(), ({ state }) => Buffer.from(state).toString());
    await raw.subscribe("stored", 1);
    assert.equal(await raw.publish({ topic: "stored", payload: "first", qos: 1 }), 0);
    // PUBACK came, so both are on disk.
    assert.deepEqual(kept(), ["first"]);
    await raw.publish({ topic: "for nobody", payload: "second" });
    const deadline = performance.now() + 8_000;
    while (kept()[0] !== "second" && performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(kept(), ["second"]);
  });

  it("reads nothing for a while from who has too much checked, and keeps it open", async () => {
    const { address, broker } = await start({ payloadRules });
    await using raw = await client(address);
    for (const payload of ["sealed 1", "slow", "sealed 2"])
      assert.equal(await raw.publish({ topic: "sealed", payload, qos: 1 }), 0x10);
    assert.equal(broker.snapshot().counters.throttled, 1);
  });
});

describe("bus port", () => {
  it("joins two brokers: messages and retained messages of one reach the clients of the other, once", async () => {
    const listeners: ((message: StoredMessage, retain: boolean) => void)[] = [];
    const busOf = (index: number): Bus => ({
      publish: (message, retain) => listeners[1 - index]?.(message, retain),
      onMessage: (listener) => void (listeners[index] = listener),
    });
    const [one, two] = await Promise.all([start({ bus: busOf(0) }), start({ bus: busOf(1) })]);
    await using subscriber = await client(two.address);
    await subscriber.subscribe("a/#", 1);
    await using publisher = await client(one.address);
    await publisher.publish({ topic: "a/b", payload: "1", qos: 1, retain: true });
    const received = await subscriber.receive();
    assert.deepEqual([received.topic, received.payload, received.qos], ["a/b", "1", 1]);
    await subscriber.expectNothing();
    await using late = await client(two.address);
    await late.subscribe("a/b");
    assert.equal((await late.receive()).retain, true);
  });
});
