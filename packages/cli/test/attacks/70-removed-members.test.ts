import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";

import type { IPublishPacket } from "mqtt-packet";

import { parseBundle } from "@postern/core/bundle";

import { configured, plainAnonymous } from "../support/configurations.ts";
import { DeviceProcess, endDeviceProcesses, startDeviceProcesses } from "../support/device-process.ts";
import { bytesOf, ManInTheMiddle } from "../support/man-in-the-middle.ts";
import { PosternProcess, postern, scratch, up, type Scratch, type TestServer } from "../support/postern.ts";
import { portOf } from "../support/raw.ts";

const permissions = `
roles:
  anonymous:
    rules:
      - topics: ["#", "$keys/#"]
        allow: [publish, subscribe, retain, persistentSession]
`;

/** What does not come ends a test, and with it the processes of others. */
const timeout = 120_000;

/** What was started by then, also when not all could be. */
const started = new AsyncDisposableStack();
let directory: Scratch;
let server: TestServer;
let middle: ManInTheMiddle;

before(async () => {
  startDeviceProcesses(3);
  directory = started.use(scratch());
  const args = configured(directory.path, plainAnonymous);
  mkdirSync(join(directory.path, "data"), { mode: 0o700 });
  writeFileSync(join(directory.path, "data", "permissions.yaml"), permissions);
  server = started.use(await up(args));
  middle = started.use(await ManInTheMiddle.start(portOf(server.urls[0])));
  for (const name of ["authority", "alice", "bob", "carol"]) await writeBundle(name);
  await keys("group", "create", "plant", "--topics", "plant/#");
  const members = ["alice", "bob", "carol"].flatMap((name) => ["--add", bundleOf(name)]);
  await keys("group", "members", "plant", ...members, "--bundle", bundleOf("authority"));
});

afterEach(() => {
  middle.tamper = (message) => [message];
});

after(async () => {
  await endDeviceProcesses();
  await started.disposeAsync();
});

function bundleOf(device: string): string {
  return join(directory.path, `${device}.json`);
}

async function writeBundle(device: string): Promise<void> {
  writeFileSync(bundleOf(device), JSON.stringify(await middle.bundle(device)), { mode: 0o600 });
}

/** `postern keys`, whose only way to the server is through the man in the middle, too. */
async function keys(...words: readonly string[]): Promise<void> {
  const { code, stderr } = await postern(["keys", ...words], { cwd: directory.path });
  assert.equal(code, 0, stderr);
}

/** A member in a process of its own, with its newest keys. */
async function member(device: string): Promise<DeviceProcess> {
  const file = bundleOf(device);
  const connected = await DeviceProcess.connect(parseBundle(readFileSync(file, "utf8"), file), {
    clientId: device,
    sessionExpirySeconds: 0,
    retryMsMin: 20,
    seal: { state: `${file}.seal` },
  });
  await connected.keysAfter(-1);
  return connected;
}

async function refusalAfter(device: DeviceProcess, work: () => unknown): Promise<string> {
  const refused = once(device, "refused");
  await work();
  const [{ code }] = await refused;
  return String(code);
}

/** Changes one bit of a payload. */
function altered(message: IPublishPacket): IPublishPacket {
  const payload = Buffer.from(bytesOf(message));
  payload[payload.length - 1] = (payload.at(-1) ?? 0) ^ 1;
  return { ...message, payload };
}

describe("attacks 67 to 69 on postern pub --seal and postern sub --open", { timeout }, () => {
  it("show nothing that was altered, moved, sent again or is not sealed, and everything else", async () => {
    await using receiver = new PosternProcess([
      "sub",
      "--verbose",
      "--bundle",
      bundleOf("bob"),
      "--open",
      "plant/#",
    ]);
    await receiver.until(/subscribed to/);
    let count = 0;
    let first: IPublishPacket | undefined;
    middle.tamper = (message) => {
      if (!message.topic.startsWith("plant/")) return [message];
      count += 1;
      first ??= message;
      const others = [
        altered(message),
        { ...message, topic: "plant/door" },
        { ...first, messageId: message.messageId ?? 0 },
        { ...message, payload: Buffer.from("open") },
      ];
      return [others[count - 2] ?? message];
    };
    const lines = Array.from({ length: 6 }, (_, n) => `line ${n + 1}\n`).join("");
    const sender = ["pub", "--bundle", bundleOf("alice"), "--seal", "--qos", "1", "--lines", "plant/1"];
    const sent = await postern(sender, { input: lines });
    assert.equal(sent.code, 0, sent.stderr);
    await receiver.until(/line 6/);
    receiver.signal("SIGINT");
    await receiver.ended;
    assert.equal(receiver.stdout, "line 1\nline 6\n");
    for (const code of ["not-authentic", "replayed", "not-sealed"])
      assert.match(receiver.stderr, new RegExp(`refused a message on "plant/1".* \\(${code}\\)`));
    assert.match(receiver.stderr, /refused a message on "plant\/door".* \(not-authentic\)/);
    assert.ok(middle.sent.every((message) => !bytesOf(message).includes("line")));
  });
});

describe("attack 70: a member that was removed, after the key changed", { timeout }, () => {
  it("can neither read nor write, while the others go on without a new connection", async () => {
    const [alice, bob, carol] = await Promise.all([member("alice"), member("bob"), member("carol")]);
    await using stack = new AsyncDisposableStack();
    for (const device of [alice, bob, carol]) stack.use(device);
    await Promise.all([bob.subscribe("plant/#"), carol.subscribe("plant/#")]);
    await alice.publish("plant/1", "for all three");
    assert.equal((await bob.next()).text, "for all three");
    assert.equal((await carol.next()).text, "for all three");

    // Whoever was removed does as if it knew nothing of that.
    const forBob = middle.sent.find(({ topic }) => topic === "$keys/bob");
    const kept: IPublishPacket[] = [];
    middle.tamper = (message) => {
      if (message.topic === "$keys/bob") kept.push(message);
      return /^\$keys\/(?:bob|carol)$/.test(message.topic) ? [] : [message];
    };
    const serial = alice.keysSerial;
    await keys("group", "members", "plant", "--remove", "carol");
    await alice.keysAfter(serial);
    const { refusedCount } = bob;
    assert.equal(
      await refusalAfter(carol, async () => {
        await alice.publish("plant/2", "without carol");
        // What comes before the key it is sealed with waits for it a moment.
        const [late = assert.fail()] = kept;
        middle.inject("bob", { topic: late.topic, payload: bytesOf(late) });
        assert.equal((await bob.next()).text, "without carol");
      }),
      "future-epoch",
    );
    assert.equal(bob.refusedCount, refusedCount);
    middle.tamper = (message) => (message.topic === "$keys/carol" ? [] : [message]);
    assert.equal(await refusalAfter(bob, () => carol.publish("plant/1", "carol was here")), "expired-epoch");

    // Nobody but the authority gives keys, and an old package does not come back.
    const stale = { topic: "$keys/bob", payload: bytesOf(forBob ?? assert.fail()) };
    assert.equal(await refusalAfter(bob, () => middle.inject("bob", stale)), "keys-stale");
    const impostor = ["--keys", join(directory.path, "impostor")];
    await keys("group", "create", "plant", "--topics", "plant/#", ...impostor);
    const bobs = ["--add", bundleOf("bob"), "--no-trust", "--bundle", bundleOf("authority")];
    const forged = refusalAfter(bob, () => keys("group", "members", "plant", ...bobs, ...impostor));
    assert.equal(await forged, "keys-not-authentic");
    await alice.publish("plant/3", "still");
    assert.equal((await bob.next()).text, "still");
  });
});

describe("a device that can write nothing any more", { timeout }, () => {
  it("goes on with the keys that come, says so, and does not accept a message twice", async () => {
    const state = `${bundleOf("alice")}.seal`;
    for (const name of ["keys.tmp", "accepted.tmp"]) mkdirSync(join(state, name));
    await using device = await member("alice");
    const warnings: string[] = [];
    device.on("warning", (text) => warnings.push(text));
    const serial = device.keysSerial;
    const at = middle.sent.length;
    await keys("group", "rotate", "plant");
    await device.keysAfter(serial);
    await device.subscribe("plant/#");
    for (const text of ["still", "again"]) {
      await device.publish("plant/1", text);
      assert.equal((await device.next()).text, text);
    }
    const sent = middle.sent.slice(at).find(({ topic }) => topic === "plant/1");
    const again = { topic: "plant/1", payload: bytesOf(sent ?? assert.fail()) };
    assert.match(await refusalAfter(device, () => middle.inject("alice", again)), /^(?:replayed|duplicate)$/);
    assert.match(warnings.join("\n"), /cannot write .*keys[^]*cannot write .*accepted/);
    for (const name of ["keys.tmp", "accepted.tmp"]) rmSync(join(state, name), { recursive: true });
  });
});
