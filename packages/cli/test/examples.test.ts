import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { connect } from "@postern/device/index";

import { configured, tlsAlone } from "./support/configurations.ts";
import { PosternProcess, scratch, up, type Scratch, type TestServer } from "./support/postern.ts";

const examples = new URL("../../../examples/", import.meta.url);

let directory: Scratch;
let server: TestServer;
let bundle: string;

before(async () => {
  directory = scratch();
  server = await up(configured(directory.path, tlsAlone));
  bundle = join(server.data, "bundles", "first-device.json");
});

after(async () => {
  await server[Symbol.asyncDispose]();
  directory[Symbol.dispose]();
});

/** Runs an example as its first lines say. */
function example(name: string, ...args: readonly string[]): PosternProcess {
  return new PosternProcess([fileURLToPath(new URL(name, examples)), ...args], { script: false });
}

function watching(): ReturnType<typeof connect> {
  return connect(bundle, { clientId: "watcher", sessionExpirySeconds: 0 });
}

describe("examples/", () => {
  it("sensor.ts publishes values with QoS 0, and says that it is there", async () => {
    await using device = await watching();
    const all = device.subscribe("devices/first-device/#");
    await all.ready;
    await using sensor = example("sensor.ts", bundle, "1");
    const topics = new Map<string, string>();
    while (topics.get("status") !== "offline") {
      const next = await all.next();
      assert.ok(next.done !== true);
      topics.set(next.value.topic.split("/").at(-1) ?? "", next.value.text());
      if (next.value.topic.endsWith("temperature")) assert.equal(next.value.qos, 0);
    }
    assert.match(topics.get("temperature") ?? "", /^\d\d\.\d$/);
    const { code, stderr } = await sensor.ended;
    assert.deepEqual([code, stderr], [0, ""]);
  });

  it("alarm.ts publishes with QoS 1, and leaves nothing in its directory that the server has", async () => {
    await using device = await watching();
    const alarms = device.subscribe("devices/+/alarm");
    await alarms.ready;
    await using alarm = example("alarm.ts", bundle, "water in the cellar");
    const next = await alarms.next();
    assert.ok(next.done !== true);
    assert.match(next.value.text(), /"text":"water in the cellar"/);
    const { code, stdout } = await alarm.ended;
    assert.equal(code, 0);
    assert.match(stdout, /^the server has it: /);
    assert.ok(existsSync(`${bundle}.outgoing`));
    assert.deepEqual(readdirSync(`${bundle}.outgoing`), []);
  });

  it("actuator.ts gives each dose once, also those that were asked for while it was away", async () => {
    await using device = await watching();
    const done = device.subscribe("devices/first-device/done", { qos: 2 });
    await done.ready;
    const dose = (ml: string): Promise<unknown> =>
      device.publish("devices/first-device/commands", ml, { qos: 2 });
    await using first = example("actuator.ts", bundle, "1");
    await first.until(/ready/);
    await dose("5");
    assert.match((await first.ended).stdout, /dose of 5 ml\n$/);
    await dose("6");
    await dose("7");
    await using second = example("actuator.ts", bundle, "2");
    const { code, stdout } = await second.ended;
    assert.deepEqual([code, stdout], [0, "ready\ndose of 6 ml\ndose of 7 ml\n"]);
    const texts: string[] = [];
    while (texts.length < 3) texts.push((await done.next()).value?.text() ?? "");
    assert.deepEqual(texts, ["5", "6", "7"]);
  });
});
