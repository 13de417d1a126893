import assert from "node:assert/strict";
import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  watch,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { parseBundle } from "@postern/core/bundle";
import { takeLock } from "@postern/device/lock-file";
import { parseGroupKeys, parseMacKeys } from "@postern/identity/payloads/group-keys-file";
import { continueSuccession, successionTopic } from "@postern/seal/groups/succession";
import { z } from "zod";

import { configured } from "./support/configurations.ts";
import { PosternProcess, command, scratch, up, type Ended, type TestServer } from "./support/postern.ts";
import { SealingDevice } from "./support/sealing-device.ts";

const configuration = `
listeners:
  - url: mqtts://127.0.0.1:0
metrics: { url: off }
log: { level: error }
`;

const topic = "devices/pump/pressure";
const groupSchema = z.object({
  epochs: z.array(z.object({ epoch: z.number() })),
  members: z.array(z.object({ device: z.string(), signs: z.boolean() })),
});

describe("postern keys", () => {
  const place = scratch();
  const args = configured(place.path, configuration);
  let server: TestServer;

  function keys(...words: readonly string[]): Promise<Ended> {
    return command(["keys", ...words], { cwd: place.path });
  }

  async function good(...words: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await keys(...words);
    assert.equal(code, 0, stderr);
    return stdout;
  }

  const bundle = (device: string) => join(place.path, "data", "bundles", `${device}.json`);

  before(async () => {
    server = await up(args);
    for (const device of ["pump", "panel", "spare"]) {
      const more = device === "panel" ? ["--key-type", "Ed25519"] : [];
      const role = device === "pump" ? [] : ["--role", "observer", "--role", "device"];
      const added = await command(["device", "add", device, ...args, ...more, ...role], { cwd: place.path });
      assert.equal(added.code, 0, added.stderr);
    }
  });

  after(async () => {
    await server.process[Symbol.asyncDispose]();
    place[Symbol.dispose]();
  });

  it("makes groups and members, and publishes keys that reach each member over MQTT and nobody else", async () => {
    const created = await keys("group", "create", "pressure", "--topics", "devices/+/pressure");
    assert.equal(created.code, 0, created.stderr);
    assert.match(created.stderr, /made a key authority in /);
    const members = ["--add", "pump", "--add", bundle("panel"), "--data", "data"];
    const publisher = ["--bundle", bundle("first-device")];
    const added = await keys("group", "members", "pressure", ...members, ...publisher);
    assert.equal(added.code, 0, added.stderr);
    assert.match(added.stderr, /pump.json says now whose keys "pump" takes/);

    await using pump = await SealingDevice.connect(bundle("pump"), { topics: [] });
    await using panel = await SealingDevice.connect(bundle("panel"), { topics: [topic] });
    for (const each of [pump, panel]) await each.until(() => each.keyring.serial > 0, "its keys");
    const sealed = await pump.publish(topic, "3.1 bar");
    const came = await panel.message(0);
    assert.equal(sealed.includes("3.1 bar"), false);
    assert.equal(panel.verdict(came), "3.1 bar");
    // The default permissions let nobody have another one's keys, or put others in their place.
    await assert.rejects(panel.client.subscribeAsync("$keys/pump"));
    await assert.rejects(panel.client.publishAsync("$keys/panel", "x", { qos: 1, retain: true }));
  });

  it("gives no new key by itself to a group that says never, and can read what it wrote", async () => {
    const own = ["--keys", "lasting-keys"];
    const made = await good("group", "create", "lasting", "--topics", "a/#", "--rotate", "never", ...own);
    assert.match(made, /new key +when members change/);
    assert.equal(await good("group", "list", "lasting", ...own), made);
    await good("group", "rotate", "--due", ...own);
    assert.equal(await good("group", "list", "lasting", ...own), made);
  });

  it("gives a new key when asked, and takes a member out so that it reads nothing more", async () => {
    await good("group", "members", "pressure", "--add", "spare", "--data", "data");
    await using pump = await SealingDevice.connect(bundle("pump"), { topics: [] });
    await using panel = await SealingDevice.connect(bundle("panel"), { topics: [topic] });
    await using spare = await SealingDevice.connect(bundle("spare"), { topics: [topic] });
    const all = [pump, panel, spare];
    for (const each of all) {
      each.aheadMs = 60_000;
      await each.until(() => each.keyring.serial > 0, "its keys");
    }
    await pump.publish(topic, "for all");
    assert.equal(panel.verdict(await panel.message(0)), "for all");
    assert.equal(spare.verdict(await spare.message(0)), "for all");

    const { serial } = pump.keyring;
    await good("group", "members", "pressure", "--remove", "spare");
    for (const each of all) await each.until(() => each.keyring.serial > serial, "new keys");
    assert.deepEqual(spare.keyring.rules, []);
    await pump.publish(topic, "for two");
    assert.equal(panel.verdict(await panel.message(1)), "for two");
    assert.equal(spare.verdict(await spare.message(1)), "wrong-mode");

    const before = groupSchema.parse(JSON.parse(await good("group", "list", "pressure", "--json")));
    const rotated = groupSchema.parse(JSON.parse(await good("group", "rotate", "pressure", "--json")));
    assert.equal(rotated.epochs[0]?.epoch, (before.epochs[0]?.epoch ?? 0) + 1);
    assert.deepEqual(
      rotated.members.map(({ device }) => device),
      ["pump", "panel"],
    );
  });

  it("goes on with --watch: publishes what others change, and stops when interrupted", async () => {
    await using watching = new PosternProcess(["keys", "publish", "--watch", "--every", "0.2"], {
      cwd: place.path,
    });
    await watching.until(/published the keys of 3 devices/);
    await using pump = await SealingDevice.connect(bundle("pump"), { topics: [] });
    await pump.until(() => pump.keyring.serial > 0, "its keys");
    const { serial } = pump.keyring;
    await good(
      "group",
      "create",
      "level",
      "--topics",
      "devices/+/level",
      "--mode",
      "signed+encrypted",
      "--max-age",
      "5m",
    );
    await good("group", "members", "level", "--add-signer", "pump", "--data", "data", "--no-publish");
    await pump.until(() => pump.keyring.serial > serial && pump.keyring.rules.length === 2, "the new group");
    assert.equal(pump.keyring.ruleFor("devices/x/level")?.maxAgeSeconds, 300);
    watching.signal("SIGINT");
    const { code } = await watching.ended;
    assert.equal(code, 130);
  });

  it("follows a device to the key of its new certificate, by what it signs with the one before", async () => {
    const former = createPrivateKey(parseBundle(readFileSync(bundle("spare"), "utf8"), "spare").key ?? "");
    const next = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const address = { tenant: "default", device: "spare" };
    await using spare = await SealingDevice.connect(bundle("spare"), { topics: [] });
    const told = continueSuccession(undefined, address, { former, next: next.publicKey });
    await spare.client.publishAsync(successionTopic("spare"), told, { qos: 1, retain: true });
    await good("publish");
    const devices = z.object({ devices: z.array(z.object({ name: z.string(), keys: z.array(z.string()) })) });
    const state = devices.parse(
      JSON.parse(readFileSync(join(place.path, "postern-keys", "groups.json"), "utf8")),
    );
    const spki = next.publicKey.export({ type: "spki", format: "der" }).toString("base64");
    assert.equal(state.devices.find(({ name }) => name === "spare")?.keys[0], spki);
    await assert.rejects(spare.client.publishAsync(successionTopic("pump"), told, { qos: 1, retain: true }));
  });

  it("writes the keys with which the server checks MACs, anew with each new key, and those of no other group", async () => {
    await good("group", "create", "meters", "--topics", "meters/#", "--mode", "mac");
    await good("group", "mac-keys", "meters", "--file", "meters.json");
    const file = join(place.path, "meters.json");
    const first = parseMacKeys(readFileSync(file, "utf8"));
    await good("group", "rotate", "meters", "--no-publish");
    const second = parseMacKeys(readFileSync(file, "utf8"));
    assert.ok(typeof first === "object" && typeof second === "object");
    assert.deepEqual([[...first.keys()], [...second.keys()]], [[1], [2, 1]]);
    const state = readFileSync(join(place.path, "postern-keys", "groups.json"), "utf8");
    const mac = first.get(1)?.exportMac().toString("base64") ?? assert.fail();
    assert.equal(state.includes(mac), false);
    const refused = await keys("group", "mac-keys", "pressure", "--file", "x.json");
    assert.equal(refused.code, 2);
    assert.match(
      refused.stderr,
      /has the mode "encrypted": the server checks MACs, of groups with --mode mac/,
    );
  });

  const notRoot = process.getuid?.() === 0 ? false : "only root can give files to others";
  it("leaves a server's file and a bundle to whoever has them", { skip: notRoot }, async () => {
    const nobody = 65_534;
    const file = join(place.path, "meters.json");
    for (const each of [file, bundle("spare")]) chownSync(each, nobody, nobody);
    await good("group", "rotate", "meters", "--no-publish");
    await good("group", "members", "meters", "--add", bundle("spare"), "--no-publish");
    for (const each of [file, bundle("spare")]) {
      const { uid, gid, mode } = statSync(each);
      assert.deepEqual([uid, gid, mode & 0o777], [nobody, nobody, 0o600], each);
    }
  });

  it("writes the keys with which the server seals for a group when members are given them, and those in use only", async () => {
    const file = join(place.path, "pressure.json");
    const epochs = (): number[] => {
      const keys = parseGroupKeys(readFileSync(file, "utf8"));
      return typeof keys === "object" ? keys.map(({ key }) => key.epoch) : assert.fail(keys);
    };
    const written = await good("group", "group-keys", "pressure", "--file", "pressure.json");
    assert.match(
      written,
      /has the keys of "pressure", and is written anew when its members are given a new one/,
    );
    const [newest = 0] = epochs();
    await good("group", "rotate", "pressure", "--no-publish");
    assert.equal(epochs()[0], newest);
    await good("publish");
    assert.equal(epochs()[0], newest + 1);
    const refused = await keys("group", "group-keys", "meters", "--file", "x.json");
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /has the mode "mac": the server seals for groups with --mode encrypted/);
  });

  it("goes on where the file with MAC keys cannot be written, and does not note one that never could", async () => {
    const missing = await keys("group", "mac-keys", "meters", "--file", join("nowhere", "meters.json"));
    assert.equal(missing.code, 2);
    assert.match(missing.stderr, /cannot write .*nowhere/);
    const untouched = await keys("group", "rotate", "meters", "--no-publish");
    assert.deepEqual([untouched.code, untouched.stderr], [0, ""]);

    const away = join(place.path, "away");
    mkdirSync(away);
    await good("group", "mac-keys", "meters", "--file", join("away", "meters.json"));
    rmSync(away, { recursive: true });
    const warned = await keys("group", "rotate", "meters", "--no-publish");
    assert.equal(warned.code, 0);
    assert.match(warned.stderr, /cannot write .*away.*refuses MACs of newer keys of "meters"/);
    await good("group", "mac-keys", "meters", "--file", "meters.json");
  });

  it("shows no secret, in any output", async () => {
    const state = readFileSync(join(place.path, "postern-keys", "groups.json"), "utf8");
    const secrets = [...state.matchAll(/"secret": "([^"]+)"/g)].map(([, secret]) => secret ?? "");
    assert.ok(secrets.length > 3);
    const outputs = [
      await good("group", "list"),
      await good("group", "list", "--json"),
      await good("group", "list", "pressure"),
      await good("publish", "--json"),
    ];
    for (const output of outputs) for (const secret of secrets) assert.equal(output.includes(secret), false);
  });

  it("refuses what cannot be, with a sentence that says how to mend it", async () => {
    const refusals: readonly (readonly [words: readonly string[], code: number, sentence: RegExp])[] = [
      [["group", "create", "pressure", "--topics", "a/#"], 2, /there is a group "pressure" already/],
      [
        ["group", "create", "x", "--topics", "devices/+/pressure"],
        2,
        /"pressure" has one of these topic filters/,
      ],
      [
        ["group", "create", "x", "--topics", "a", "--tenant", "other"],
        2,
        /are of the tenant "default": another tenant has a key authority of its own/,
      ],
      [
        ["group", "create", "x", "--topics", "a", "--tenant", "", "--keys", "nowhere"],
        2,
        /"" is not a name of /,
      ],
      [["group", "create", "x", "--topics", "a#"], 2, /"a#" is not a topic filter/],
      [["group", "create", "x", "--topics", "$keys/#"], 2, /is not a topic filter of messages/],
      [["group", "create", "x"], 2, /--topics/],
      [["group", "create", "x", "--topics", "a", "--rotate", "soon"], 2, /a time such as 90s, 30m/],
      [["group", "members", "nobody"], 2, /no group "nobody"; there are pressure, level, meters/],
      [["group", "members", "pressure", "--add", "missing"], 2, /neither a file missing nor .*missing\.json/],
      [["group", "members", "pressure", "--remove", "spare"], 2, /"spare" is no member/],
      [["group", "rotate"], 2, /which group .* or --due/],
      [["group", "list", "--keys", "nowhere"], 2, /there are no keys in it: `postern keys group create`/],
      [
        ["publish", "--bundle", bundle("panel")],
        1,
        /refused the keys of "pump" .*must have the rule \{ topics: \["\$keys\/#"\], allow: \[publish/,
      ],
    ];
    for (const [words, code, sentence] of refusals) {
      const ended = await keys(...words);
      assert.equal(ended.code, code, `${words.join(" ")}: ${ended.stderr}`);
      assert.match(ended.stderr, sentence);
    }
    const certificates = join(place.path, "not-a-device.pem");
    writeFileSync(certificates, JSON.parse(readFileSync(bundle("pump"), "utf8")).ca);
    const ended = await keys("group", "members", "pressure", "--add", certificates);
    assert.match(ended.stderr, /holds no certificate of a device/);
  });

  it("does not use a directory that others can read, or that is damaged", async () => {
    const file = join(place.path, "postern-keys", "groups.json");
    chmodSync(file, 0o644);
    const readable = await keys("group", "list");
    assert.deepEqual([readable.code, /run chmod 600/.test(readable.stderr)], [2, true]);
    chmodSync(file, 0o600);
    const text = readFileSync(file, "utf8");
    for (const damaged of [text.slice(0, -3), text.replace('"serial"', '"cereal"')]) {
      writeFileSync(file, damaged);
      const ended = await keys("group", "list");
      assert.equal(ended.code, 2);
      assert.match(ended.stderr, /put back a copy/);
    }
    writeFileSync(file, text);
    assert.equal((await keys("group", "list")).code, 0);
  });

  it("loses nothing when commands change the directory at once, or one of them was killed", async () => {
    const lock = join(place.path, "postern-keys", "lock");
    // No process has this number on Linux, where they end below 4,194,304.
    writeFileSync(lock, "4194304");
    const names = ["one", "two", "three"];
    await Promise.all(names.map((name) => good("group", "create", name, "--topics", `${name}/#`)));
    const list = await good("group", "list");
    for (const name of names) assert.match(list, new RegExp(`^${name} `, "m"));
    assert.equal(existsSync(lock), false);
  });

  it("makes no key authority beside one that another command is making at that moment", async () => {
    const path = join(place.path, "new-keys");
    mkdirSync(path, { mode: 0o700 });
    const lock = takeLock(join(path, "lock"));
    assert.ok(lock.kind === "taken");
    const tried = Promise.withResolvers<void>();
    using stack = new DisposableStack();
    const watcher = watch(
      path,
      (_event, name) => void (name?.startsWith("lock.") === true && tried.resolve()),
    );
    stack.defer(() => watcher.close());
    await using second = new PosternProcess(
      ["keys", "group", "create", "south", "--topics", "south/#", "--keys", path],
      { cwd: place.path },
    );
    await Promise.race([tried.promise, second.ended]);
    const made = readdirSync(path).filter((name) => !name.startsWith("lock"));
    assert.deepEqual(made, [], "it waits, and has made nothing yet");
    for (const name of ["authority.pem", "groups.json"])
      copyFileSync(join(place.path, "postern-keys", name), join(path, name));
    lock.release();
    const { code, stderr } = await second.ended;
    assert.deepEqual([code, stderr], [0, ""]);
    const ours = readFileSync(join(place.path, "postern-keys", "authority.pem"), "utf8");
    assert.ok(readFileSync(join(path, "authority.pem"), "utf8") === ours);
    assert.match(await good("group", "list", "--keys", path), /^south /m);
  });
});
