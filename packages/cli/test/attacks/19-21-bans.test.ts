import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";

import { hostsRefused } from "@postern/gate/hosts/namespaces";
import { floodArguments } from "@postern/gate/testing/flood";

import {
  childOf,
  clientAddress,
  dialFrom,
  hiddenServer,
  opensWithinMs,
  packetOf,
  sendFrom,
  serverAddress,
  strangerAddress,
  type HiddenServer,
} from "../support/hidden-server.ts";
import { bin } from "../support/postern.ts";

const refused = await hostsRefused();

/** Seconds that the kernel keeps the address locked out; `undefined` when it is not. */
async function kernelBan(test: HiddenServer, address: string): Promise<number | undefined> {
  const { stdout } = await test.network
    .host("server")
    .run("nft", ["-j", "list", "set", "inet", "postern", "bans4"]);
  const found = new RegExp(`"val": *"${address.replaceAll(".", "\\.")}"[^}]*"expires": *(\\d+)`).exec(stdout);
  return found === null ? undefined : Number(found[1]);
}

function junk(count: number): Buffer[] {
  return Array.from({ length: count }, () => randomBytes(84));
}

describe("attack 19 to 21: bans", refused === undefined ? {} : { skip: refused }, () => {
  it("attack 19: six invalid packets lock out for six hours, also across a restart; five do not", async () => {
    await using test = await hiddenServer();
    await sendFrom(test.stranger, junk(5));
    await test.until(({ counters }) => counters["unknown-device"] === 5);
    assert.equal(await kernelBan(test, strangerAddress), undefined);
    await sendFrom(test.stranger, junk(1));
    await test.until(({ bans }) => bans === 1);
    const seconds = await kernelBan(test, strangerAddress);
    assert.ok(seconds !== undefined && seconds > 21_500 && seconds <= 21_600, `${seconds}`);
    // The list is written within a second.
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    process.kill(childOf(test.server.child.pid ?? 0, "gate"), "SIGKILL");
    await test.until(({ broker, bans }) => broker !== null && bans === 1);
    assert.ok(((await kernelBan(test, strangerAddress)) ?? 0) > 21_000);
    const { stdout } = await test.postern(test.network.host("server"), "ban", "list", "--data", test.data);
    assert.match(stdout, new RegExp(`^${strangerAddress} .* left`));
  });

  it("attack 20: six packets in a victim's name do not even lock it out while its device is there", async () => {
    await using test = await hiddenServer();
    const session = test.client.start(process.execPath, [
      bin,
      "sub",
      "--bundle",
      test.bundleFile,
      "hello/#",
      "--verbose",
    ]);
    await session.until(/subscribed|connected to/);
    const lies = floodArguments({
      to: serverAddress,
      port: 62_201,
      from: clientAddress,
      count: 6,
      rate: 200,
    });
    const { code, stderr } = await test.stranger.run(process.execPath, lies);
    assert.equal(code, 0, stderr);
    await test.until(({ counters }) => (counters["unknown-device"] ?? 0) === 6);
    assert.equal(await kernelBan(test, clientAddress), undefined);
    const published = await test.postern(
      test.client,
      "pub",
      "--bundle",
      test.bundleFile,
      "hello/x",
      "still here",
    );
    assert.equal(published.code, 0, published.stderr);
    await session.until(/still here/);
  });

  it("attack 20: packets in a victim's name lock it out of nothing: its knock opens, its session lives", async () => {
    await using test = await hiddenServer();
    const session = test.client.start(process.execPath, [
      bin,
      "sub",
      "--bundle",
      test.bundleFile,
      "hello/#",
      "--verbose",
    ]);
    await session.until(/subscribed|connected to/);
    await test.ask({ kind: "ban", source: clientAddress, seconds: 600 });
    const lies = floodArguments({
      to: serverAddress,
      port: 62_201,
      from: clientAddress,
      count: 60,
      rate: 200,
    });
    const { code, stderr } = await test.stranger.run(process.execPath, lies);
    assert.equal(code, 0, stderr);
    assert.notEqual(await kernelBan(test, clientAddress), undefined);
    assert.equal(await dialFrom(test.client), "silence");
    // A few packets a second of a banned source are looked at; the flood must be over.
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    const published = await test.postern(
      test.client,
      "pub",
      "--bundle",
      test.bundleFile,
      "--connect-timeout",
      "15",
      "hello/x",
      "to a session that lives",
    );
    assert.equal(published.code, 0, published.stderr);
    await session.until(/to a session that lives/);
    // Whoever else is there stays locked out.
    await test.until(({ windowCount }) => windowCount === 0);
    assert.notEqual(await kernelBan(test, clientAddress), undefined);
    assert.equal(await dialFrom(test.client), "silence");
  });

  it("attack 21: with more than 65,536 invented sources a valid knock still opens, and nothing grows without bounds", async () => {
    await using test = await hiddenServer();
    const flood = test.stranger.start(
      process.execPath,
      floodArguments({ to: serverAddress, port: 62_201, rate: 20_000, count: 100_000 }),
    );
    await test.until(({ counters }) => (counters["unknown-device"] ?? 0) > 6_000);
    const pairs = Array.from({ length: 10 }, (): [Buffer, Buffer] => [
      packetOf(test.bundle),
      packetOf(test.bundle, { action: "close" }),
    ]);
    const times = await opensWithinMs(test.client, pairs);
    // All of them open, also while the machine does other things; what is quick is quick because the flood does not matter.
    assert.equal(times.length, pairs.length);
    assert.ok(times.filter((ms) => ms < 100).length >= 3, `${times.map(Math.round).join(", ")} ms`);
    await flood.ended;
    const { bans, flooded } = await test.status();
    assert.ok(flooded && bans <= 4_096, `${bans} bans`);
    const lines = test.server.stdout.split("\n").length + test.server.stderr.split("\n").length;
    assert.ok(lines < 3_000, `${lines} lines`);
    const gate = childOf(test.server.child.pid ?? 0, "gate\0run");
    const [, residentKiB = "0"] =
      /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${gate}/status`, "utf8")) ?? [];
    assert.ok(Number(residentKiB) > 0 && Number(residentKiB) < 400 * 1_024, `${residentKiB} KiB`);
    const { stdout } = await test.network.host("server").run("nft", ["-j", "list", "ruleset"]);
    const { nftables }: { nftables: { set?: { name: string; elem?: unknown[] } }[] } = JSON.parse(stdout);
    const sizes = nftables.flatMap(({ set }) => (set === undefined ? [] : [set.elem?.length ?? 0]));
    assert.ok(Math.max(...sizes) <= 65_536, sizes.join(", "));
  });
});
