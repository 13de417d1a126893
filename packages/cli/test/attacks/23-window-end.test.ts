import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { hostsRefused } from "@postern/gate/hosts/namespaces";

import { dial, gateStage, opens } from "../support/gate-stage.ts";

const refused = await hostsRefused();

describe(
  "attack 23: a new connection after the window is over",
  refused === undefined ? {} : { skip: refused },
  () => {
    it("is not answered, while the established one lives; a revocation ends that too", async () => {
      await using stage = await gateStage({
        gate: { windowSeconds: 3 },
        devices: { "client-1": ["device"], "client-2": ["observer"] },
      });
      const subscriber = stage.start("client-2", [
        "sub",
        "devices/#",
        "--bundle",
        stage.bundle("client-2"),
        "--verbose",
        "--no-reconnect",
      ]);
      await subscriber.until(/subscribed/i);
      const knocked = await stage.run("client-1", ["knock", "--bundle", stage.bundle("client-1")]);
      assert.equal(knocked.code, 0, knocked.stderr);
      await opens(stage.host("client-1"), "192.168.1.126");
      await delay(3_500);
      for (const name of ["client-1", "client-2"])
        assert.equal(await dial(stage.host(name), "192.168.1.126"), "nothing", name);
      const publish = ["pub", "devices/client-1/x", "after", "--bundle", stage.bundle("client-1")];
      const published = await stage.run("client-1", publish);
      assert.equal(published.code, 0, published.stderr);
      await subscriber.until(/after/);
      const revoked = await stage.run("server", ["device", "revoke", "client-2", "--data", stage.data]);
      assert.equal(revoked.code, 0, revoked.stderr);
      const { code } = await subscriber.ended;
      assert.notEqual(code, 0);
      // A revoked device knocks in vain.
      const again = await stage.run("client-2", ["knock", "--bundle", stage.bundle("client-2")]);
      assert.equal(again.code, 0, again.stderr);
      assert.equal(await dial(stage.host("client-2"), "192.168.1.126"), "nothing");
    });
  },
);
