import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { hostsRefused } from "@postern/gate/hosts/namespaces";

import { dialFrom, hiddenServer } from "./support/hidden-server.ts";

const refused = await hostsRefused();
const alarm = fileURLToPath(new URL("../../../examples/alarm.ts", import.meta.url));

describe("the device library at a hidden server", refused === undefined ? {} : { skip: refused }, () => {
  it("knocks by itself, and nobody else sees a port", async () => {
    await using stage = await hiddenServer();
    assert.equal(await dialFrom(stage.client), "silence");
    const { code, stdout, stderr } = await stage.client.run(process.execPath, [
      alarm,
      stage.bundleFile,
      "fire",
    ]);
    assert.deepEqual([code, stderr], [0, ""]);
    assert.match(stdout, /^the server has it: .*"fire"/);
    assert.equal(await dialFrom(stage.stranger), "silence");
  });
});
