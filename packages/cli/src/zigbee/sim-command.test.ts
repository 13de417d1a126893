import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";

import { run } from "../main.ts";
import { fakeContext } from "../testing.ts";

const folder = mkdtempSync(join(tmpdir(), "postern-sim-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));

async function postern(...args: readonly string[]) {
  const context = fakeContext({ cwd: folder });
  const code = await run(["zigbee", ...args], context);
  return { code, out: context.out(), err: context.err() };
}

function scenarioFile(name: string, content: unknown): string {
  writeFileSync(join(folder, name), JSON.stringify(content));
  return name;
}

describe("postern zigbee sim", () => {
  it("writes a capture, its keys and a report, which the auditor reads; keys are for the owner only", async () => {
    const scenario = scenarioFile("short.json", { base: "star", seconds: 50, warmUpSeconds: 20 });
    const files = ["--pcap", "a.pcap", "--keys", "a.keys", "--report", "a.html"];
    const { code, out, err } = await postern("sim", scenario, ...files);
    assert.deepEqual([code, err], [0, ""]);
    assert.match(out, /^short\.json: 7 devices, 50 s, seed 1\n[^]*devices joined +6\n[^]*messages delivered/);
    assert.equal(statSync(join(folder, "a.keys")).mode & 0o777, 0o600);
    const html = readFileSync(join(folder, "a.html"), "utf8");
    assert.match(html, /<svg[^>]*Topology[^]*<svg[^>]*Time line[^]*forms the network/);
    assert.ok(!html.includes("<script"));
    const keys = readFileSync(join(folder, "a.keys"), "utf8");
    const hex = [...keys.matchAll(/^"([0-9a-f:]{47})"/gm)].map(([, key = ""]) => key.replaceAll(":", ""));
    writeFileSync(join(folder, "keys.txt"), hex.join("\n"));
    const audit = await postern("audit", "a.pcap", "--key-file", "keys.txt", "--fail-on", "low");
    assert.equal(audit.code, 0, audit.out);
    assert.match(audit.out, /Protected frames opened: (\d+) of \1\n/);
  });

  it("writes a capture that brings its keys along, where its name ends with .pcapng", async () => {
    const scenario = scenarioFile("keys.json", { base: "star", seconds: 40, warmUpSeconds: 20 });
    assert.equal((await postern("sim", scenario, "--pcap", "b.pcapng")).code, 0);
    assert.equal(statSync(join(folder, "b.pcapng")).mode & 0o777, 0o600);
    const audit = await postern("audit", "b.pcapng", "--fail-on", "low");
    assert.equal(audit.code, 0, audit.out);
    assert.match(audit.out, /Protected frames opened: (\d+) of \1\n/);
  });

  it("runs a network without a trust centre, and refuses what there is only with one", async () => {
    const base = { base: "mesh", seconds: 60, warmUpSeconds: 30 };
    const good = scenarioFile("distributed.json", { ...base, security: { model: "distributed" } });
    const { code, out } = await postern("sim", good);
    assert.equal(code, 0);
    assert.match(out, /devices joined +9\n/);
    for (const more of [
      { security: { model: "distributed", keyUpdateSeconds: 30 } },
      { security: { model: "distributed", masterKeys: true } },
      { security: { model: "distributed" }, stack: { apsEncryption: true } },
    ]) {
      const refused = await postern("sim", scenarioFile("bad.json", { ...base, ...more }));
      assert.equal(refused.code, 2);
      assert.match(refused.err, /model is distributed: there is no trust centre/);
    }
  });

  it("writes the secrets of certificates, with which the auditor derives the link keys", async () => {
    const security = { certificates: true, linkKeys: "well-known" };
    const scenario = scenarioFile("cbke.json", {
      base: "star",
      seconds: 60,
      warmUpSeconds: 40,
      security,
      stack: { apsEncryption: true },
    });
    const { code, err } = await postern("sim", scenario, "--pcap", "c.pcap", "--cbke", "c.json");
    assert.deepEqual([code, err], [0, ""]);
    assert.equal(statSync(join(folder, "c.json")).mode & 0o777, 0o600);
    const without = await postern("audit", "c.pcap", "--fail-on", "never", "--format", "json");
    assert.doesNotMatch(without.out, /key establishment/);
    const audit = await postern(
      "audit",
      "c.pcap",
      "--cbke",
      "c.json",
      "--fail-on",
      "never",
      "--format",
      "json",
    );
    assert.equal(audit.out.match(/frame \d+, key establishment/g)?.length, 6);
    const plain = scenarioFile("plain.json", { base: "star", seconds: 40, warmUpSeconds: 20 });
    const refused = await postern("sim", plain, "--cbke", "d.json");
    assert.equal(refused.code, 2);
    assert.match(refused.err, /--cbke: the devices of this scenario have no certificates/);
  });

  it("is the same for one seed, and says in JSON what it measured", async () => {
    const scenario = scenarioFile("json.json", { base: "star", seconds: 40, warmUpSeconds: 20 });
    const first = await postern("sim", scenario, "--seed", "7", "--json");
    const second = await postern("sim", scenario, "--seed", "7", "--json");
    assert.equal(first.out, second.out);
    assert.match(first.out, /"seed": 7,\n[^]*"delivery": /);
  });

  const faults: readonly [name: string, content: unknown, sentence: RegExp][] = [
    ["an unknown key", { nodez: [] }, /nodez/],
    ["a value that cannot be", { channel: 3 }, /channel/],
    ["a stack setting that is none", { stack: { securityLevel: 9 } }, /stack\.securityLevel/],
    ["no coordinator", { nodes: [{ name: "a", kind: "router", x: 0, y: 0 }] }, /0 coordinators, not one/],
    [
      "a router that sleeps",
      {
        nodes: [
          { name: "c", kind: "coordinator", x: 0, y: 0 },
          { name: "a", kind: "router", x: 0, y: 0, sleeps: true },
        ],
      },
      /a is a router and cannot sleep/,
    ],
    ["a warm-up without end", { seconds: 10, warmUpSeconds: 10 }, /warmUpSeconds is 10/],
  ];
  for (const [name, content, sentence] of faults) {
    it(`refuses a scenario with ${name}`, async () => {
      const { code, err } = await postern("sim", scenarioFile("bad.json", content));
      assert.equal(code, 2);
      assert.match(err, sentence);
    });
  }

  it("refuses a scenario that is not there, a seed that is none, and a file that cannot be written", async () => {
    assert.match((await postern("sim", "nowhere")).err, /neither one of star, tree, mesh nor a scenario/);
    assert.match((await postern("sim", "star", "--seed", "x")).err, /--seed is "x"/);
    const scenario = scenarioFile("tiny.json", { base: "star", seconds: 3, warmUpSeconds: 1 });
    const { code, err } = await postern("sim", scenario, "--pcap", "no/such/folder.pcap");
    assert.equal(code, 2);
    assert.match(err, /cannot write no\/such\/folder\.pcap/);
  });
});
