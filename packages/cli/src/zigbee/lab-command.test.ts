import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";

import { run } from "../main.ts";
import { fakeContext } from "../testing.ts";

const folder = mkdtempSync(join(tmpdir(), "postern-lab-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));

async function lab(...args: readonly string[]) {
  const context = fakeContext({ cwd: folder });
  const code = await run(["zigbee", "lab", ...args], context);
  return { code, out: context.out(), err: context.err() };
}

const one = ["--attack", "key-in-clear", "--seeds", "1"];

describe("postern zigbee lab", () => {
  it("prints a table, and writes a page", async () => {
    const { code, out, err } = await lab(...one, "--report", "lab.html");
    assert.deepEqual([code, err], [0, ""]);
    assert.match(out, /^key-in-clear: The network key is sent in clear/);
    assert.match(readFileSync(join(folder, "lab.html"), "utf8"), /<h1>Attacks on Zigbee networks/);
  });

  it("prints JSON", async () => {
    const { out } = await lab(...one, "--json");
    assert.match(out, /^\[\n {2}\{\n {4}"id": "key-in-clear",[^]*"prevented": 1\n/);
  });

  it("writes what a sniffer heard, with its strength, in which the auditor finds forged acknowledgements", async () => {
    const { code, err } = await lab("--attack", "forged-acknowledgements", "--seeds", "1", "--pcap", "heard");
    assert.deepEqual([code, err], [0, ""]);
    for (const [condition, isForged] of [
      ["calm", false],
      ["attacked", true],
    ] as const) {
      const file = join("heard", `forged-acknowledgements-${condition}.pcapng`);
      assert.equal(statSync(join(folder, file)).mode & 0o777, 0o600);
      const context = fakeContext({ cwd: folder });
      await run(["zigbee", "audit", file, "--fail-on", "never"], context);
      assert.equal(context.out().includes("ZB-ACK-FORGED"), isForged, condition);
      assert.match(context.out(), /Protected frames opened: (\d+) of \1\n/);
    }
    const refused = await lab(...one, "--pcap", join("heard", "forged-acknowledgements-calm.pcapng"));
    assert.equal(refused.code, 2);
    assert.match(refused.err, /cannot make heard/);
  });

  it("scores the auditor, and writes the scores", async () => {
    const { code, out } = await lab(...one, "--detectors", "scores.md");
    assert.deepEqual([code, out], [0, ""]);
    const page = readFileSync(join(folder, "scores.md"), "utf8");
    assert.match(page, /^\| `ZB-KEY-CLEAR` \| 100\.0 % \| 100\.0 % \| 2 \| 0 \| 0 \| 1 \|$/m);
    assert.match(page, /1 captures without an attacker there were 0 false alarms/);
  });

  it("refuses an attack that there is not, and a number of seeds that is none", async () => {
    const unknown = await lab("--attack", "magic");
    assert.equal(unknown.code, 2);
    assert.match(unknown.err, /--attack is "magic", not one of key-extraction, /);
    assert.match((await lab("--seeds", "0")).err, /--seeds is "0", not a whole number from 1/);
  });
});
