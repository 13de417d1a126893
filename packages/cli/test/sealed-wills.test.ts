import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";

import { parseBundle } from "@postern/core/bundle";
import { connect } from "@postern/device/index";

import { Proxy } from "./support/broker.ts";
import { DeviceProcess, endDeviceProcesses, startDeviceProcesses } from "./support/device-process.ts";
import { PermittedServer } from "./support/permitted-server.ts";
import { PosternProcess, command } from "./support/postern.ts";

const status = "devices/pump/status";

/** The server refuses a CONNECT whose will is not sealed, or was left before. */
const permissions = `
payloads:
  - topics: ["devices/+/status"]
    require: encrypted
roles:
  device:
    rules:
      - topics: ["#", "$keys/#"]
        allow: [publish, subscribe, will, retain, persistentSession]
`;

let server: PermittedServer;
/** Of the pump. */
let way: Proxy;
const bundleOf = (device: string): string => join(server.directory.path, "bundles", `${device}.json`);

before(async () => {
  startDeviceProcesses(1);
  server = await PermittedServer.start(permissions);
  for (const device of ["authority", "pump", "panel"]) {
    const added = await command(["device", "add", device, "--data", server.directory.path]);
    assert.equal(added.code, 0, added.stderr);
  }
  way = await Proxy.start(Number(new URL(server.tlsUrl).port));
  await keys("create", "status", "--topics", "devices/+/status");
});

after(async () => {
  await endDeviceProcesses();
  await way[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

async function keys(...words: readonly string[]): Promise<void> {
  const ended = await command(["keys", "group", ...words], { cwd: dirname(server.directory.path) });
  assert.equal(ended.code, 0, ended.stderr);
}

/** The pump in a process of its own, with a status. */
async function pump(): Promise<DeviceProcess> {
  const file = bundleOf("pump");
  const servers = [{ url: way.url.replace("mqtt:", "mqtts:") }];
  return DeviceProcess.connect(
    { ...parseBundle(readFileSync(file, "utf8"), file), servers },
    {
      clientId: "pump",
      retryMsMin: 20,
      status: true,
      seal: { state: `${file}.seal` },
    },
  );
}

describe("a will on a topic that demands sealed payloads", { timeout: 120_000 }, () => {
  it("is sealed anew for each connection, and left as soon as there are keys", async () => {
    const members = ["--add", "pump", "--add", "panel", "--data", "data"];
    await keys("members", "status", ...members, "--no-publish");
    await using panel = await connect(bundleOf("panel"), { sessionExpirySeconds: 0 });
    const messages = panel.subscribe(status);
    await messages.ready;
    const next = async (): Promise<readonly [string | undefined, string | undefined]> => {
      const { value } = await messages.next();
      return [value?.text(), value?.sealed?.sender];
    };
    // No keys have come yet: the first connection is one without a will.
    const first = await pump();
    await keys("rotate", "status", "--bundle", bundleOf("authority"));
    assert.deepEqual(await next(), ["online", "pump"]);
    // It connects again to leave one.
    assert.deepEqual(await next(), ["online", "pump"]);
    await first.crash();
    assert.deepEqual(await next(), ["offline", "pump"]);

    const second = await pump();
    assert.deepEqual(await next(), ["online", "pump"]);
    await second.crash();
    assert.deepEqual(await next(), ["offline", "pump"]);

    // What a process reconnects with is sealed anew, too.
    await using third = await pump();
    assert.deepEqual(await next(), ["online", "pump"]);
    way.cut();
    assert.deepEqual(await next(), ["offline", "pump"]);
    assert.deepEqual(await next(), ["online", "pump"]);
    await third.crash();
    assert.deepEqual(await next(), ["offline", "pump"]);
    assert.equal(panel.refusedCount, 0);
  });

  it("is sealed by postern sub --open too", async () => {
    await using panel = await connect(bundleOf("panel"), { sessionExpirySeconds: 0 });
    const messages = panel.subscribe(status, { retainHandling: 2 });
    await messages.ready;
    const words = ["sub", "--bundle", bundleOf("pump"), "--open", "--verbose", "devices/pump/orders"];
    const will = ["--will-topic", status, "--will-message", "gone"];
    await using subscriber = new PosternProcess([...words, ...will]);
    await subscriber.until(/subscribed to/);
    subscriber.signal("SIGKILL");
    const { value } = await messages.next();
    assert.deepEqual([value?.text(), value?.sealed?.sender], ["gone", "pump"]);
  });
});
