import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { hostsRefused } from "@postern/gate/hosts/namespaces";

import { dial, gateStage } from "./support/gate-stage.ts";

const refused = await hostsRefused();

describe("postern gate reset", refused === undefined ? {} : { skip: refused }, () => {
  it("shows again what a stopped gate left hidden, and not while a gate runs", async () => {
    await using stage = await gateStage({ devices: {} });
    const reset = ["gate", "reset", "--data", stage.data];
    const early = await stage.run("server", reset);
    assert.equal(early.code, 2);
    assert.match(early.stderr, /A gate is running/);
    stage.server.child.kill("SIGTERM");
    await stage.server.ended;
    await using other = stage
      .host("server")
      .start(process.execPath, [
        "-e",
        `require("net").createServer((s) => s.end().on("error", () => {})).listen(8883, () => console.log("listening"))`,
      ]);
    await other.until(/listening/);
    const stranger = stage.host("stranger");
    assert.equal(await dial(stranger, "192.168.1.126"), "nothing");
    const done = await stage.run("server", reset);
    assert.equal(done.code, 0, done.stderr);
    assert.equal(await dial(stranger, "192.168.1.126"), "connected");
  });
});
