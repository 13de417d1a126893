import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { hostsRefused } from "@postern/gate/hosts/namespaces";

import { dial, gateStage, opens, soon } from "../support/gate-stage.ts";

const refused = await hostsRefused();
const withinMs = 5_000;

describe(
  "attack 25: another program changes the rules",
  refused === undefined ? {} : { skip: refused },
  () => {
    it("and they are put back within five seconds, with the window that was open", async () => {
      await using stage = await gateStage({ gate: { windowSeconds: 60 } });
      const server = stage.host("server");
      const stranger = stage.host("stranger");
      const knocked = await stage.run("client-1", [
        "knock",
        "--bundle",
        stage.bundle("client-1"),
        "--seconds",
        "60",
      ]);
      assert.equal(knocked.code, 0, knocked.stderr);
      for (const commands of [
        "flush ruleset",
        "insert rule inet postern service accept",
        "add table inet postern { flags dormant; }",
        `add element inet postern windows4 { ${stranger.ipv4} . 8883 timeout 1h }`,
      ]) {
        const changed = await server.run("nft", [commands]);
        assert.equal(changed.code, 0, changed.stderr);
        await soon(async () => (await dial(stranger, "192.168.1.126")) === "nothing", withinMs);
        await opens(stage.host("client-1"), "192.168.1.126");
      }
      // What the kernel knew of devices beside windows is told again.
      const hints = async (): Promise<string> =>
        (await server.run("nft", ["list", "set", "inet", "postern", "hints"])).stdout;
      await soon(async () => (await hints()).includes("elements"));
      assert.equal(stage.server.stderr.match(/firewall rules were changed from outside/g)?.length, 4);
    });

    it("and when they cannot be put back, the server takes nobody until they can", async () => {
      await using stage = await gateStage({ gate: { windowSeconds: 60 } });
      const server = stage.host("server");
      // A table with an owner belongs to one process: nobody else may change it.
      const thief = server.start("python3", ["-c", ownsTable]);
      await thief.until(/taken/);
      await stage.server.until(/hidden ports may be open/);
      const publish = [
        "pub",
        "devices/client-1/x",
        "1",
        "--qos",
        "1",
        "--bundle",
        stage.bundle("client-1"),
        "--no-reconnect",
        "--connect-timeout",
        "5",
      ];
      assert.notEqual((await stage.run("client-1", publish)).code, 0);
      thief.child.kill("SIGTERM");
      await thief.ended;
      await soon(async () => (await dial(stage.host("stranger"), "192.168.1.126")) === "nothing", withinMs);
      const honest = await stage.run("client-1", publish);
      assert.equal(honest.code, 0, honest.stderr);
    });
  },
);

/** Takes our table's place with one of its own, which the kernel removes with this process. */
const ownsTable = `
import ctypes, signal, sys
lib = ctypes.CDLL("libnftables.so.1")
lib.nft_ctx_new.restype = ctypes.c_void_p
context = ctypes.c_void_p(lib.nft_ctx_new(0))
code = lib.nft_run_cmd_from_buffer(context, b"delete table inet postern; add table inet postern { flags owner; }")
print("taken" if code == 0 else "refused", flush=True)
signal.pause()
`;
