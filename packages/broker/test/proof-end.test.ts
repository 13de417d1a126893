import assert from "node:assert/strict";
import { after, describe, it } from "node:test";

import { MemorySessionStore } from "@postern/store/memory-session-store";

import type { Accepted, Authenticator } from "../src/ports.ts";
import { openBroker, type OpenBroker } from "../src/testing/open-broker.ts";
import { ShiftedClock } from "../src/testing/shifted-clock.ts";
import * as packets from "./support/packets.ts";
import { property } from "./support/packets.ts";
import { RawClient, type Address } from "./support/raw-client.ts";

const minuteMs = 60_000;
const method = property.authenticationMethod("TOKEN");

const brokers: OpenBroker[] = [];
after(() => Promise.all(brokers.map(({ broker }) => broker.close())));

/** Everybody is the device `d` and has proved it for as many minutes as the user name or the authentication data says. */
function forMinutes(clock: ShiftedClock): Authenticator {
  const accepted = (minutes: number): Accepted => ({
    kind: "accepted",
    identity: { name: "d", anonymous: false },
    untilMs: clock.wallMs() + minutes * minuteMs,
    by: "a test",
  });
  return {
    authenticate: ({ username }) => accepted(Number(username)),
    exchange: () => ({
      next: (data) => {
        const minutes = Number(Buffer.from(data ?? []).toString());
        return minutes > 0
          ? { ...accepted(minutes), data: undefined }
          : { kind: "refused", reasonCode: 0x86, reason: "no minutes" };
      },
    }),
  };
}

async function start() {
  const clock = new ShiftedClock();
  const opened = openBroker({
    store: new MemorySessionStore(),
    ports: { clock, authenticator: forMinutes(clock) },
  });
  brokers.push(opened);
  const { port } = await opened.listen();
  const address: Address = { host: "127.0.0.1", port };
  const open = async (minutes: number, version: packets.Version = 5) => {
    const raw = await RawClient.open(address, version);
    const keepAliveSeconds = 3_600;
    await raw.connect({
      clientId: `c${Math.random()}`,
      keepAliveSeconds,
      username: String(minutes),
      password: "",
    });
    return raw;
  };
  const openByToken = async (minutes: number) => {
    const raw = await RawClient.open(address, 5);
    const properties = [method, property.authenticationData(String(minutes))];
    raw.send(packets.connect(5, { clientId: `c${Math.random()}`, keepAliveSeconds: 3_600, properties }));
    assert.equal((await raw.expect("connack")).reasonCode, 0);
    return raw;
  };
  return { clock, events: opened.events, open, openByToken };
}

function again(minutes: number): Uint8Array {
  return packets.auth(0x19, [method, property.authenticationData(String(minutes))]);
}

describe("the end of a proof", () => {
  it("ends the connection with 0x87, and that of MQTT 3.1.1 without a word; others stay", async () => {
    const { clock, events, open } = await start();
    await using five = await open(10);
    await using four = await open(10, 4);
    await using longer = await open(60);
    clock.leap(9 * minuteMs);
    for (const raw of [five, four, longer]) await raw.ping();
    clock.leap(minuteMs);
    await five.expectDisconnect(0x87);
    await four.expectClosed();
    await longer.ping();
    assert.deepEqual(
      events.filter(({ kind }) => kind === "proof-ended").map(({ identity }) => identity),
      ["d", "d"],
    );
  });

  it("is later once the client has authenticated again (MQTT 5.0 §4.12.1)", async () => {
    const { clock, events, openByToken } = await start();
    await using raw = await openByToken(10);
    clock.leap(9 * minuteMs);
    raw.send(again(30));
    assert.equal((await raw.expect("auth")).reasonCode, 0);
    assert.equal(events.at(-1)?.kind, "re-authenticated");
    clock.leap(20 * minuteMs);
    await raw.ping();
    clock.leap(10 * minuteMs);
    await raw.expectDisconnect(0x87);
  });

  it("is now when the client fails to authenticate again, with a code that DISCONNECT can say", async () => {
    const { openByToken } = await start();
    await using raw = await openByToken(10);
    raw.send(again(0));
    await raw.expectDisconnect(0x87);
  });

  it("cannot be put off all the time: a client that does nothing else is disconnected (0x96)", async () => {
    const { openByToken, clock } = await start();
    await using raw = await openByToken(600);
    for (let round = 0; round < 10; round += 1) {
      raw.send(again(600));
      assert.equal((await raw.expect("auth")).reasonCode, 0);
    }
    clock.leap(minuteMs);
    for (let round = 0; round < 10; round += 1) {
      raw.send(again(600));
      assert.equal((await raw.expect("auth")).reasonCode, 0);
    }
    raw.send(again(600), again(600));
    await raw.expectDisconnect(0x96);
  });
});
