import assert from "node:assert/strict";
import { once } from "node:events";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { connect } from "@postern/device/index";

import { configured, tlsAlone } from "./support/configurations.ts";
import { PosternProcess, command, scratch, up, type TestServer } from "./support/postern.ts";

const topic = "devices/pump/pressure";

describe("postern pub --seal and sub --open", () => {
  const place = scratch();
  const args = configured(place.path, tlsAlone);
  let server: TestServer;

  const bundle = (device: string): string => join(place.path, "data", "bundles", `${device}.json`);

  async function good(...words: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await command(words, { cwd: place.path });
    assert.equal(code, 0, stderr);
    return stdout;
  }

  async function refused(...words: readonly string[]): Promise<string> {
    const { code, stderr } = await command(words, { cwd: place.path });
    return `${code} ${stderr}`;
  }

  before(async () => {
    server = await up(args);
    await good("device", "add", "pump", ...args);
    await good("device", "add", "panel", ...args, "--role", "observer", "--role", "device");
    await good("keys", "group", "create", "pressure", "--topics", "devices/+/pressure");
    const publisher = ["--bundle", bundle("first-device")];
    const members = ["--add", "pump", "--add", "panel", "--data", "data"];
    await good("keys", "group", "members", "pressure", ...members, ...publisher);
  });

  after(async () => {
    await server.process[Symbol.asyncDispose]();
    place[Symbol.dispose]();
  });

  it("seals what is published, opens what is received, and prints nothing that is not sealed", async () => {
    const sub = ["sub", "--verbose", "--qos", "1", "--count", "1", "--bundle"];
    const watcher = new PosternProcess([...sub, bundle("first-device"), "--format", "hex", topic]);
    const panel = new PosternProcess([...sub, bundle("panel"), "--json", "--open", "devices/#"]);
    await using stack = new AsyncDisposableStack();
    for (const each of [watcher, panel]) stack.use(each);
    await watcher.until(/subscribed to/);
    await panel.until(/keys of groups: package/);
    await panel.until(/subscribed to/);
    await good("pub", "--bundle", bundle("pump"), "--qos", "1", "--seal", topic, "3.1 bar");
    const seen = await watcher.ended;
    assert.ok(!Buffer.from(seen.stdout.trim(), "hex").includes("bar"), seen.stdout);
    const opened = await panel.ended;
    assert.equal(opened.code, 0, opened.stderr);
    assert.match(opened.stdout, /"payload":"3.1 bar".*"sealed":\{"mode":"encrypted","sender":"pump"/);

    const again = new PosternProcess([...sub, bundle("panel"), "--open", "devices/#"]);
    stack.use(again);
    await again.until(/keys of groups: package/);
    await again.until(/subscribed to/);
    await good("pub", "--bundle", bundle("pump"), "--qos", "1", topic, "plain");
    await again.until(/refused a message on "devices\/pump\/pressure" \(not-sealed\)/);
    await good("pub", "--bundle", bundle("pump"), "--qos", "1", "--seal", topic, "3.2 bar");
    assert.equal((await again.ended).stdout, "3.2 bar\n");
  });

  it("seals with the newest keys at once, and not with those from before", async () => {
    for (const name of ["level", "flow"]) {
      await good("keys", "group", "create", name, "--topics", `devices/+/${name}`);
      await good("keys", "group", "members", name, "--add", "pump", "--data", "data");
      if (name === "level") {
        await good("pub", "--bundle", bundle("pump"), "--qos", "1", "--seal", "devices/pump/level", "7");
      } else {
        await using device = await connect(bundle("pump"));
        await device.publish("devices/pump/flow", "8", { retain: true });
      }
    }
    const sub = ["sub", "--bundle", bundle("first-device"), "--count", "1", "--format", "hex"];
    const seen = await good(...sub, "devices/pump/flow");
    assert.match(seen, /^d083/);
    await good("pub", "--bundle", bundle("pump"), "--qos", "1", "--retain", "devices/pump/flow", "");
  });

  it("shows no control character of a topic when it says what it refused", async () => {
    const sub = ["sub", "--verbose", "--bundle", bundle("panel"), "--open", "devices/#"];
    await using panel = new PosternProcess(sub);
    await panel.until(/subscribed to/);
    await using intruder = await connect(bundle("first-device"));
    await intruder.publish("devices/\u001b]0;owned\u0007\npostern: all is well/pressure", "plain");
    await panel.until(
      /refused a message on "devices\/\\x1b\]0;owned\\x07\\npostern: all is well\/pressure" \(/,
    );
    panel.signal("SIGINT");
    assert.ok(!(await panel.ended).stderr.includes("\u001b"));
  });

  it("says what is missing", async () => {
    const pump = ["pub", "--bundle", bundle("pump"), "--seal"];
    assert.match(await refused(...pump, "devices/pump/other", "x"), /^1 .*is of no group of this device/);
    assert.match(
      await refused("pub", "--bundle", bundle("first-device"), "--seal", topic, "x"),
      /^2 .*does not say whose keys to take/,
    );
    assert.match(
      await refused("sub", "--url", "mqtt://127.0.0.1", "--open", "a"),
      /^2 .*--open needs --bundle/,
    );
    await using device = await connect(bundle("pump"));
    assert.equal(device.state, "connected");
    assert.match(await refused(...pump, topic, "x"), /^2 .*is in use by the process \d+/);
  });

  it("says which rule is missing where the server gives a device no keys", async () => {
    const rule = /topics: \["\$keys\/\$\{device\}"\], allow: \[subscribe\] \} in permissions\.yaml/;
    await good("device", "add", "guard", ...args, "--role", "observer");
    await good("keys", "group", "members", "pressure", "--add", "guard", "--data", "data");
    await using sub = new PosternProcess(["sub", "--bundle", bundle("guard"), "--open", "devices/#"], {
      cwd: place.path,
    });
    await sub.until(rule);
    sub.signal("SIGINT");
    await sub.ended;
    const warned = Promise.withResolvers<Error>();
    await using guard = await connect(bundle("guard"), { offline: true });
    guard.on("warning", warned.resolve);
    assert.match((await warned.promise).message, rule);
  });

  it("is what the library does by itself with such a bundle", async () => {
    await using pump = await connect(bundle("pump"));
    await using panel = await connect(bundle("panel"), { clientId: "panel-app" });
    const messages = panel.subscribe("devices/#");
    await messages.ready;
    const refused = once(panel, "refused");
    await good("pub", "--bundle", bundle("first-device"), topic, "plain");
    assert.equal((await refused)[0].code, "not-sealed");
    await pump.publish(topic, "3.3 bar");
    const next = await messages.next();
    assert.deepEqual([next.value?.text(), next.value?.sealed?.sender], ["3.3 bar", "pump"]);
    // A member that was removed does not begin to speak in plain.
    const changed = once(pump, "keys");
    await good("keys", "group", "members", "pressure", "--remove", "pump");
    await changed;
    await assert.rejects(pump.publish(topic, "3.4 bar"), { code: "SEAL" });
  });
});
