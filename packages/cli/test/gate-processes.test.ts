import assert from "node:assert/strict";
import { getPriority } from "node:os";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";

import { hostsRefused } from "@postern/gate/hosts/namespaces";

import { childOf, dialFrom, hiddenServer, packetOf, sendFrom } from "./support/hidden-server.ts";
import { bin } from "./support/postern.ts";

const refused = await hostsRefused();

/** `CapEff` of CAP_NET_ADMIN alone. @see linux/capability.h */
const netAdminOnly = "0000000000001000";
const none = "0000000000000000";

function rightsOf(pid: number): string {
  return /CapEff:\s+(\S+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "";
}

describe("gate and server", refused === undefined ? {} : { skip: refused }, () => {
  it("have no more rights than they need, are started again when they die, and nothing is open meanwhile", async () => {
    await using test = await hiddenServer();
    const { pid = 0 } = test.server.child;
    assert.equal(rightsOf(childOf(pid, "gate")), netAdminOnly);
    assert.equal(getPriority(childOf(pid, "gate")), -10);
    assert.equal(rightsOf(childOf(pid, "--beside-gate")), none);
    const server = test.network.host("server");
    await using watching = server.start(process.execPath, [bin, "gate", "watch", "--data", test.data]);
    await watching.until(/server +there for/);
    for (const part of ["gate\0run", "--beside-gate"]) {
      const before = childOf(pid, part);
      process.kill(before, "SIGKILL");
      assert.equal(await dialFrom(test.client, 200), "silence");
      await test.until(
        ({ broker, devices, ready }) =>
          broker !== null && devices === 1 && ready && childOf(pid, part) !== before,
      );
      assert.equal(await dialFrom(test.client, 200), "silence");
    }
    const published = await test.postern(
      test.client,
      "pub",
      "--bundle",
      test.bundleFile,
      "--connect-timeout",
      "15",
      "hello/x",
      "after all that",
    );
    assert.equal(published.code, 0, published.stderr);
    // Who watches sees the gate that came after the one that died. It looks once a second: what is over sooner it may miss.
    await watching.until(/gate +running for[\s\S]*1 received, 1 accepted/);
    // Hidden remains hidden when everything is gone.
    process.kill(pid, "SIGKILL");
    await test.server.ended;
    await watching.until(/gate +away: /);
    assert.equal(await dialFrom(test.client, 200), "silence");
  });

  it("are started again when they hang: a gate that was stopped is replaced, and the next one works", async () => {
    await using test = await hiddenServer();
    const { pid = 0 } = test.server.child;
    const before = childOf(pid, "gate\0run");
    process.kill(before, "SIGSTOP");
    await test.server.until(/the gate does not answer any more/);
    await test.until(
      ({ broker, devices, ready }) =>
        broker !== null && devices === 1 && ready && childOf(pid, "gate\0run") !== before,
    );
    assert.equal(await dialFrom(test.client, 200), "silence");
    assert.equal(await sendFrom(test.client, [packetOf(test.bundle)]), "");
    await test.until(({ windowCount }) => windowCount === 1);
    assert.equal(await dialFrom(test.client), "open");
  });

  it("leave a tunnel for those that cannot knock", async () => {
    await using test = await hiddenServer();
    const tunnel = test.client.start(process.execPath, [bin, "tunnel", "--bundle", test.bundleFile]);
    await tunnel.until(/leads to/);
    for (let round = 0; round < 2; round++) {
      const published = await test.client.run("mosquitto_pub", [
        "-h",
        "127.0.0.1",
        "-p",
        "1883",
        "-V",
        "5",
        "-q",
        "1",
        "-r",
        "-t",
        "hello/tunnel",
        "-m",
        `round ${round}`,
      ]);
      assert.equal(published.code, 0, published.stderr);
    }
    const { stdout } = await test.client.run("mosquitto_sub", [
      "-p",
      "1883",
      "-t",
      "hello/#",
      "-C",
      "1",
      "-W",
      "15",
    ]);
    assert.equal(stdout.trim(), "round 1");
  });
});
