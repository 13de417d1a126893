import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import { bin, postern, PosternProcess, scratch } from "./support/postern.ts";

/** A user without any rights. */
const nobody = 65_534;
const skip = process.getuid?.() === 0 ? false : "needs root, to run as somebody else";

function configured(directory: string, ...lines: readonly string[]): string[] {
  const data = join(directory, "data");
  mkdirSync(data, { recursive: true });
  chmodSync(directory, 0o755);
  chownSync(data, nobody, nobody);
  const config = join(directory, "postern.yaml");
  writeFileSync(config, ["gate: {}", 'metrics: { url: "off" }', 'est: { url: "off" }', ...lines].join("\n"));
  return ["up", "--data", data, "--config", config];
}

describe("a gate that cannot be", { skip }, () => {
  it("is said at the start, and the server is there for this machine only", async () => {
    using directory = scratch();
    const args = configured(directory.path, "listeners: [{ url: mqtts://127.0.0.1:0 }]");
    await using server = new PosternProcess(args, { uid: nobody });
    await server.until(/is running/);
    assert.match(
      server.stdout,
      /warning: there is no gate, and listeners are on loopback only: hiding ports needs root/,
    );
    assert.match(server.stdout, /mqtts:\/\/127\.0\.0\.1:\d+/);
  });

  it("is said to a root that a container withholds the firewall from", async () => {
    using directory = scratch();
    const args = configured(directory.path, "listeners: [{ url: mqtts://0.0.0.0:8883 }]");
    const withheld = ["--inh-caps=-net_admin", "--bounding-set=-net_admin", process.execPath, bin];
    const { status, stderr } = spawnSync("setpriv", [...withheld, ...args], { encoding: "utf8" });
    assert.equal(status, 2, stderr);
    assert.match(stderr, /cannot be: hiding ports needs the capability CAP_NET_ADMIN, which is withheld/);
  });

  it("is said where libnftables is missing or broken, whoever starts it", async () => {
    using directory = scratch();
    const [library = ""] =
      /\S*\/libnftables\.so\.1$/m.exec(spawnSync("ldconfig", ["-p"], { encoding: "utf8" }).stdout) ?? [];
    assert.notEqual(library, "");
    // In a view of the file system where the library is an empty file, and in a network with every port free.
    const broken = `mount --bind /dev/null "${realpathSync(library)}" && ip link set lo up && exec "$@"`;
    const without = [
      "--mount",
      "--net",
      "--propagation",
      "private",
      "bash",
      "-c",
      broken,
      "bash",
      process.execPath,
      bin,
    ];
    const open = configured(directory.path, "listeners: [{ url: mqtts://0.0.0.0:8883 }]");
    const { status, stderr } = spawnSync("unshare", [...without, ...open], { encoding: "utf8" });
    assert.equal(status, 2, stderr);
    assert.match(stderr, /is to be hidden by the gate, and cannot be: hiding ports needs libnftables/);
    const unsaid = configured(directory.path);
    await using server = new PosternProcess([...without, ...unsaid], { runtime: "unshare", script: false });
    await server.until(/is running/);
    assert.match(
      server.stdout,
      /warning: there is no gate, and listeners are on loopback only: hiding ports needs libnftables, which cannot be loaded .*apt-get install libnftables1/,
    );
    assert.deepEqual(new Set(server.stdout.match(/mqtts:\/\/[^\s:]+/g)), new Set(["mqtts://127.0.0.1"]));
  });

  it("is an error where others could reach what it was to hide", async () => {
    using directory = scratch();
    const args = configured(directory.path, "listeners: [{ url: mqtts://0.0.0.0:8883 }]");
    const { code, stderr } = await postern(args, { uid: nobody });
    assert.equal(code, 2);
    assert.match(
      stderr,
      /mqtts:\/\/0\.0\.0\.0:8883 is to be hidden by the gate, and cannot be: hiding ports needs root; start as root/,
    );
  });

  it("is looked at in vain: the commands for it say that nobody answers", async () => {
    using directory = scratch();
    for (const args of [
      ["gate", "status"],
      ["ban", "list"],
      ["ban", "lift", "--all"],
    ]) {
      const { code, stderr } = await postern([...args, "--data", directory.path]);
      assert.equal(code, 1);
      assert.match(stderr, /cannot speak to the gate .* is a server with a gate running/);
    }
    for (const [address, why] of [
      ["not-an-address", /"not-an-address" is neither an IP address nor the \/64 of one/],
      ["127.0.0.1", /this machine itself, which the gate lets in anyway/],
      ["10.0.0.0/8", /too wide/],
    ] as const) {
      const { code, stderr } = await postern(["ban", "add", address, "--data", directory.path]);
      assert.equal(code, 2);
      assert.match(stderr, why);
    }
  });
});
