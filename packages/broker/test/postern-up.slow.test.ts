import assert from "node:assert/strict";
import { once } from "node:events";
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { startPostern, type Postern } from "./support/postern.ts";
import { RawClient, type Address } from "./support/raw-client.ts";

/** The same tests, of the server as it is delivered: `postern up` with its store, in a process of its own. */
const suites = [
  ...readdirSync(join(import.meta.dirname, "conformance")).map((file) => join("conformance", file)),
  "hostile-inputs.test.ts",
  "interop-peers.test.ts",
];

function text({ host, port }: Address): string {
  return `${host}:${port}`;
}

describe("postern up", () => {
  let postern: Postern | undefined;

  before(async () => {
    postern = await startPostern();
  });

  it("passes the conformance suite", async () => {
    assert.ok(postern !== undefined);
    const { plain, limited, webSocket, guarded } = postern.listeners;
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const tests = spawn(process.execPath, ["--test", "--test-reporter=dot", ...suites], {
      cwd: import.meta.dirname,
      env: {
        ...env,
        POSTERN_CONFORMANCE_TARGET: text(plain),
        POSTERN_CONFORMANCE_TARGET_LIMITED: text(limited),
        POSTERN_CONFORMANCE_TARGET_WEBSOCKET: text(webSocket),
        POSTERN_CONFORMANCE_TARGET_GUARDED: text(guarded),
        POSTERN_CONFORMANCE_TARGET_IS_OURS: "1",
      },
    });
    let output = "";
    tests.stdout.setEncoding("utf8").on("data", (chunk: string) => (output += chunk));
    await once(tests, "close");
    assert.equal(tests.exitCode, 0, output);
  });

  it("tells clients of MQTT 5 with 0x8B that it shuts down, and ends with 0", async () => {
    assert.ok(postern !== undefined);
    await using client = await RawClient.open(postern.listeners.plain, 5);
    await client.connect({ clientId: "last" });
    const stopped = postern.stop();
    postern = undefined;
    await client.expectDisconnect(0x8b);
    assert.equal(await stopped, 0);
  });

  after(() => postern?.stop());
});
